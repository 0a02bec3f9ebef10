"""What REST and gRPC both ask of the service: readiness, its models by name and version, the repository."""

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
    describe,
)
from .requests import Parameters

_TIMED = ("queue", "compute_input", "compute_infer", "compute_output")


def statistics(snapshot: Snapshot, models: Iterable[tuple[str, str]]) -> Statistics:
    """What has been counted of `models`, given by name and version.

    Times are sums over requests, of each request's slowest image. In `batch_stats` decoding and the making of
    predictions take no time: they are done per image, outside of the batch.
    """
    return Statistics(model_stats=[_of_model(snapshot, name, version) for name, version in models])


def _of_model(snapshot: Snapshot, model: str, version: str) -> ModelStatistics:
    totals: dict[str, float] = defaultdict(float)
    batches: dict[int, dict[str, float]] = defaultdict(dict)
    last = 0.0
    for name, pairs, value in snapshot["values"]:
        labels = dict(pairs)
        if (labels.get("model"), labels.get("version")) != (model, version):
            continue
        if "batch_size" in labels:
            batches[int(labels["batch_size"])][name] = value
        elif name == "tessella_last_inference_timestamp_seconds":
            last = max(last, value)
        else:
            totals[name] += value
    answered = round(totals["nv_inference_request_success"])

    def spent(part: str) -> Duration:
        return Duration(count=answered, ns=round(totals[f"nv_inference_{part}_duration_us"]) * 1000)

    failed = Duration(
        count=round(totals["nv_inference_request_failure"]),
        ns=round(totals["tessella_request_failure_seconds_total"] * 1e9),
    )
    return ModelStatistics(
        name=model,
        version=version,
        last_inference=round(last * 1e3),
        inference_count=round(totals["nv_inference_count"]),
        execution_count=round(totals["nv_inference_exec_count"]),
        inference_stats=InferStatistics(
            success=spent("request"), fail=failed, **{part: spent(part) for part in _TIMED}
        ),
        batch_stats=[_of_batch(size, counted) for size, counted in sorted(batches.items())],
    )


def _of_batch(size: int, counted: dict[str, float]) -> BatchStatistics:
    calls = round(counted.get("tessella_batch_executions_total", 0))
    elapsed = Duration(count=calls, ns=round(counted.get("tessella_batch_seconds_total", 0) * 1e9))
    outside = Duration(count=calls)
    return BatchStatistics(batch_size=size, compute_input=outside, compute_infer=elapsed, compute_output=outside)


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


def server_metadata() -> ServerMetadata:
    return ServerMetadata(name="tessella", version=__version__, extensions=EXTENSIONS)


def is_ready(service: Service) -> bool:
    return service.status == "ready"


def model_of(service: Service, name: str, version: str = "") -> ServedModel:
    """The model of a name or an alias; of several versions the one given, or the newest.

    Raises:
        ModelNotFound: there is none.
    """
    model = service.repository.find(name)
    if version in ("", str(model.version)):
        return model
    versions = {str(known.version): known for known in _versions(service, model)}
    if version not in versions:
        raise ModelNotFound(f"model {name!r} has no version {version!r}; it has {', '.join(versions)}")
    return versions[version]


def engine_of(service: Service, name: str, version: str = "") -> AsyncEngine:
    """The engine of that model.

    Raises:
        ModelNotFound: as `model_of`; or it is not loaded.
        NotReady: it is loading, or could not be loaded.
    """
    return service.repository.engine(str(model_of(service, name, version).spec))


def metadata(service: Service, name: str, version: str = "") -> ModelMetadata:
    """As `engine_of`."""
    engine = engine_of(service, name, version)
    versions = _versions(service, model_of(service, name, version))
    return describe(engine, [str(known.version) for known in versions if known.engine])


async def count(service: Service, name: str = "", version: str = "") -> Statistics:
    """The statistics of a version, of a model, or of all.

    Raises:
        ModelNotFound: as `model_of`.
    """
    models = service.repository.versions
    if name:
        model = model_of(service, name, version)
        models = [model] if version else _versions(service, model)
    return statistics(await service.collect_metrics(), [(model.name, str(model.version)) for model in models])


def index(service: Service, *, only_ready: bool = False) -> list[IndexEntry]:
    """Every version that is known, or every one that answers."""
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


async def load(service: Service, name: str, parameters: Parameters) -> None:
    """Loads a model, or loads it again; returns once it answers.

    Raises:
        BadRequest: it could not be loaded; what was served still is.
        NotReady: the service is shutting down.
        Unsupported: the request brings a configuration or files of its own.
    """
    if parameters:
        raise Unsupported(f"parameters {', '.join(map(repr, parameters))}: models are loaded as the server was told to")
    if service.draining:
        raise NotReady("the service is shutting down")
    try:
        await service.repository.load(name)
    except LoadFailed as error:
        raise BadRequest(str(error)) from error


async def unload(service: Service, name: str) -> None:
    """All versions of a model answer no longer; what they have accepted they finish.

    Raises:
        ModelNotFound: there is none of that name.
    """
    await service.repository.unload(name)


def _versions(service: Service, model: ServedModel) -> list[ServedModel]:
    return [known for known in service.repository.versions if known.name == model.name]
