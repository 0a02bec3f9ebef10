"""A request for a benchmark -> a run that can begin, or what is wrong with it."""

import uuid
from datetime import UTC, datetime

from ...models.checkpoints.sources import onnx_file
from ...models.packages import installed
from ..errors import BadRequest
from ..repository import ModelRepository
from .schemas import BenchmarkRequest, Run


def plan(request: BenchmarkRequest, repository: ModelRepository) -> tuple[Run, str]:
    """A run with an id, not begun, and the source of its model.

    Raises:
        ModelNotServed, NotReady: there is no such model, or not yet.
        BadRequest: the model cannot be measured so.
    """
    engine, model = repository.engine(request.model), repository.find(request.model)
    info = engine.info
    if "batch_sizes" not in request.model_fields_set:
        sizes = [size for size in request.batch_sizes if size <= engine.max_batch_size]
        request = request.model_copy(update={"batch_sizes": sizes})
    if (largest := max(request.batch_sizes)) > engine.max_batch_size:
        raise BadRequest(f"batch size {largest} is larger than the model's largest, {engine.max_batch_size}")
    if len(set(request.batch_sizes)) < len(request.batch_sizes):
        raise BadRequest("a batch size is named twice; name each once")
    if request.dtype not in (None, info.dtype):
        raise BadRequest(f"{engine.name} is served in {info.dtype}, not in {request.dtype}; what is served is measured")
    if request.against and onnx_file(model.spec.source) is not None:
        raise BadRequest(f"{engine.name} is an ONNX file, of which PyTorch has no network to be compared with")
    if request.against and not installed("torch"):
        raise BadRequest("eager PyTorch cannot be measured: torch is not installed here")
    run = Run(
        id=uuid.uuid4().hex[:12],
        request=request,
        model=model.name,
        version=model.version,
        backend=info.backend,
        device=info.device,
        dtype=info.dtype,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    return run, model.spec.source
