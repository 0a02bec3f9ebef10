"""Operations of the Open Inference Protocol that REST and gRPC share: models by name and version, repository."""

from collections import defaultdict
from collections.abc import Iterable

from .... import __version__
from ...engine.engine import AsyncEngine
from ...errors import BadRequest, LoadFailed, ModelNotFound, NotReady, Unsupported
from ...http.service import Service
from ...observability.metrics import Snapshot
from ...served_model import ServedModel
from .metadata import (
    BatchStatistics,
    Duration,
    IndexEntry,
    InferStatistics,
    ModelMetadata,
    ModelStatistics,
    RepositoryState,
    ServerMetadata,
    Statistics,
    describe_model,
)
from .requests import Parameters

EXTENSIONS = [
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "parameters",
    "schedule_policy",
    "statistics",
]
_STATES: dict[str, RepositoryState] = {"ready": "READY", "loading": "LOADING"}
_TIMED = ("queue", "compute_input", "compute_infer", "compute_output")


def server_metadata() -> ServerMetadata:
    """Name, version and extensions of the server."""
    return ServerMetadata(name="tessella", version=__version__, extensions=EXTENSIONS)


def is_ready(service: Service) -> bool:
    """Check whether all models are loaded and the service accepts requests."""
    return service.status == "ready"


def find_model(service: Service, name: str, version: str = "") -> ServedModel:
    """Model by its name or alias, in the given version or in the newest.

    Raises:
        ModelNotFound: there is none.
    """
    model = service.repository.find(name)
    if version in ("", str(model.version)):
        return model
    versions = {str(other.version): other for other in _versions(service, model)}
    if version not in versions:
        raise ModelNotFound(f"model {name!r} has no version {version!r}; available versions: {', '.join(versions)}")
    return versions[version]


def find_engine(service: Service, name: str, version: str = "") -> AsyncEngine:
    """Engine of a model.

    Raises:
        ModelNotFound: as `find_model`; or the model is not loaded.
        NotReady: it is loading, or failed to load.
    """
    return service.repository.engine(str(find_model(service, name, version).spec))


def model_metadata(service: Service, name: str, version: str = "") -> ModelMetadata:
    """Metadata of a model, with the versions that are loaded. Raises as `find_engine`."""
    engine = find_engine(service, name, version)
    versions = _versions(service, find_model(service, name, version))
    return describe_model(engine, [str(other.version) for other in versions if other.engine])


async def model_statistics(service: Service, name: str = "", version: str = "") -> Statistics:
    """Statistics of one version, of all versions of a model, or of all models.

    Raises:
        ModelNotFound: as `find_model`.
    """
    models = service.repository.versions
    if name:
        model = find_model(service, name, version)
        models = [model] if version else _versions(service, model)
    snapshot = await service.collect_metrics()
    return build_statistics(snapshot, [(model.name, str(model.version)) for model in models])


def repository_index(service: Service, *, only_ready: bool = False) -> list[IndexEntry]:
    """Index of all known versions, or only of those that are ready."""
    return [
        IndexEntry(
            name=model.name,
            version=str(model.version),
            state=_STATES.get(model.state, "UNAVAILABLE"),
            reason="unloaded" if model.unloaded else model.reason,
        )
        for model in service.repository.versions
        if model.state == "ready" or not only_ready
    ]


async def load_model(service: Service, name: str, parameters: Parameters) -> None:
    """Load or reload a model, and return once it serves requests.

    Raises:
        BadRequest: it failed to load; the models served before are unchanged.
        NotReady: the service is shutting down.
        Unsupported: the request contains a configuration or files.
    """
    if parameters:
        names = ", ".join(map(repr, parameters))
        raise Unsupported(f"load parameters are not supported; omit {names} (the server's settings apply)")
    if service.draining:
        raise NotReady("the service is shutting down")
    try:
        await service.repository.load(name)
    except LoadFailed as error:
        raise BadRequest(str(error)) from error


async def unload_model(service: Service, name: str) -> None:
    """Unload all versions of a model; accepted requests complete.

    Raises:
        ModelNotFound: there is none of that name.
    """
    await service.repository.unload(name)


def build_statistics(snapshot: Snapshot, models: Iterable[tuple[str, str]]) -> Statistics:
    """Statistics of `models`, given by name and version, from a snapshot of all metrics.

    Times are sums over requests, of each request's slowest image. In `batch_stats`, `compute_input` and
    `compute_output` are zero: images are decoded, and results built, outside of the batch.
    """
    return Statistics(model_stats=[_model_statistics(snapshot, name, version) for name, version in models])


def _model_statistics(snapshot: Snapshot, model: str, version: str) -> ModelStatistics:
    totals: dict[str, float] = defaultdict(float)
    batches: dict[int, dict[str, float]] = defaultdict(dict)
    last_inference = 0.0
    for name, pairs, value in snapshot["values"]:
        labels = dict(pairs)
        if (labels.get("model"), labels.get("version")) != (model, version):
            continue
        if "batch_size" in labels:
            batches[int(labels["batch_size"])][name] = value
        elif name == "tessella_last_inference_timestamp_seconds":
            last_inference = max(last_inference, value)
        else:
            totals[name] += value
    successes = round(totals["nv_inference_request_success"])

    def duration(stage: str) -> Duration:
        return Duration(count=successes, ns=round(totals[f"nv_inference_{stage}_duration_us"]) * 1000)

    failures = Duration(
        count=round(totals["nv_inference_request_failure"]),
        ns=round(totals["tessella_request_failure_seconds_total"] * 1e9),
    )
    return ModelStatistics(
        name=model,
        version=version,
        last_inference=round(last_inference * 1e3),
        inference_count=round(totals["nv_inference_count"]),
        execution_count=round(totals["nv_inference_exec_count"]),
        inference_stats=InferStatistics(
            success=duration("request"), fail=failures, **{stage: duration(stage) for stage in _TIMED}
        ),
        batch_stats=[_batch_statistics(size, counts) for size, counts in sorted(batches.items())],
    )


def _batch_statistics(size: int, counts: dict[str, float]) -> BatchStatistics:
    calls = round(counts.get("tessella_batch_executions_total", 0))
    inference = Duration(count=calls, ns=round(counts.get("tessella_batch_seconds_total", 0) * 1e9))
    none = Duration(count=calls)
    return BatchStatistics(batch_size=size, compute_input=none, compute_infer=inference, compute_output=none)


def _versions(service: Service, model: ServedModel) -> list[ServedModel]:
    return [other for other in service.repository.versions if other.name == model.name]
