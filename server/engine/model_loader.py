"""Model loader: the runner of a source, on the requested backend or the one that rule or table choose; its worker."""

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypedDict, Unpack

from ...models.backend_choice import choose_checkpoint_backend, choose_onnx_batch, order_onnx_backends
from ...models.backend_rule import RUNTIMES, BackendChoice, Machine
from ...models.checkpoints.sources import Overrides, onnx_file
from ...models.onnx.export_cache import load_cached_export
from ...models.onnx.model import OnnxModel
from ...models.packages import installed
from ...models.registry import describe
from ..observability.metrics import Metrics
from ..settings import Settings
from .onnx_runner import BACKENDS, OnnxRunner, open_onnx
from .runner import Runner
from .tasks import result_shapes
from .torch_runner import TorchRunner
from .worker import Worker

DEFAULT_MAX_BATCH_SIZE = 32
_log = logging.getLogger(__name__)


class EngineLimits(TypedDict, total=False):
    """Limits of an engine, as in `AsyncEngine`."""

    max_queue: int
    decode_threads: int | None
    max_pixels: int
    scaled_decode: bool
    max_gpu_resize_pixels: int
    metrics: Metrics | None


class ModelOptions(TypedDict, total=False):
    """Options of running a model, as in `Settings`."""

    device: str
    dtype: str
    backend: str
    batch_invariant: bool
    architecture: str | None
    image_size: int | None
    backend_timings: Path | None


def engine_limits(settings: Settings, metrics: Metrics, max_queue: int) -> EngineLimits:
    """Engine limits from the settings."""
    return {
        "max_queue": max_queue,
        "decode_threads": settings.decode_threads,
        "max_pixels": settings.max_pixels,
        "scaled_decode": settings.scaled_decode,
        "max_gpu_resize_pixels": settings.max_gpu_resize_pixels,
        "metrics": metrics,
    }


def model_options(settings: Settings) -> ModelOptions:
    """Model options from the settings."""
    return {
        "device": settings.device,
        "dtype": settings.dtype,
        "backend": settings.backend,
        "batch_invariant": settings.batch_invariant,
        "architecture": settings.architecture,
        "image_size": settings.image_size,
        "backend_timings": settings.backend_timings,
    }


def load_runner(
    source: str,
    *,
    device: str = "auto",
    dtype: str = "auto",
    backend: str = "auto",
    max_batch_size: int | None = None,
    batch_invariant: bool = False,
    architecture: str | None = None,
    image_size: int | None = None,
    backend_timings: Path | None = None,
) -> Runner:
    """Load a model. Nothing is timed.

    Args:
        source: shipped name, file (`.onnx` too), folder or hub id.
        max_batch_size: largest batch that TensorRT builds its engine for; DEFAULT_MAX_BATCH_SIZE if None.
        device, dtype, backend, batch_invariant, architecture, image_size, backend_timings: as in `Settings`.

    Raises:
        LookupError, ValueError: the model was not found, cannot be loaded, or the backend does not support it.
    """
    file = onnx_file(source)
    if batch_invariant and (file is not None or backend in BACKENDS):
        reason = f"{source} is an ONNX file" if file is not None else f"the backend is {backend!r}"
        raise ValueError(f"batch invariance needs a checkpoint and backend 'triton', but {reason}")
    overrides = _overrides(architecture, image_size)
    limit = max_batch_size or DEFAULT_MAX_BATCH_SIZE
    if file is not None:
        if overrides:
            raise ValueError(f"{source} is an ONNX file: --architecture and --image-size apply to checkpoints only")
        return _load_onnx_file(file, device, (backend, dtype), limit, backend_timings)
    if not installed("torch"):
        raise ValueError(f"{source} is a checkpoint, which needs torch (pip install 'tessella[torch]'); .onnx does not")
    choose = partial(
        choose_checkpoint_backend, source, device=device, dtype=dtype, backend=backend, timings=backend_timings
    )
    choice = BackendChoice(backend, dtype) if batch_invariant else choose(**overrides)
    if choice.backend in BACKENDS:
        try:
            return _load_exported(source, choice, device, dtype, limit, overrides)
        except (ValueError, RuntimeError) as error:  # the runtimes and torch raise RuntimeError
            if backend != "auto":
                raise
            _log.warning("%s runs on torch instead of the faster %s: %s", source, choice.backend, error)
        failed = choice.backend
        choice = choose(machine=replace(Machine.current(), exports=False), **overrides)
        choice = replace(choice, reason=f"the faster {failed} failed to load; {choice.reason}")
    runner = TorchRunner(
        source,
        device=device,
        dtype=choice.dtype,
        backend=choice.backend,
        batch_invariant=batch_invariant,
        **overrides,
    )
    return _with_choice(runner, choice)


def _overrides(architecture: str | None, image_size: int | None) -> Overrides:
    """Overrides that are set."""
    overrides = Overrides()
    if architecture is not None:
        overrides["architecture"] = architecture
    if image_size is not None:
        overrides["image_size"] = image_size
    return overrides


def _load_exported(
    source: str, choice: BackendChoice, device: str, dtype: str, limit: int, overrides: Overrides
) -> Runner:
    """Export a checkpoint unless the cache has it, and load it in the ONNX runtime that was chosen.

    What the file does not compute, such as embeddings, PyTorch does, in float32 unless `dtype` is requested.
    """
    load = partial(open_onnx, backend=choice.backend, device=device, dtype=choice.dtype, max_batch_size=limit)
    file_dtype = "float32" if choice.backend == "openvino" else choice.dtype
    model = load_cached_export(source, load, dtype=file_dtype, **overrides)
    load_checkpoint = partial(
        TorchRunner,
        source,
        device="cpu" if model.device == "cpu" else device,
        dtype="float32" if dtype == "auto" and model.device == "cpu" else dtype,
        backend="torch",
        **overrides,
    )
    results = result_shapes(describe(source, **overrides).config)
    return _with_choice(OnnxRunner(model, load_checkpoint=load_checkpoint, results=results), choice)


def _load_onnx_file(
    file: Path, device: str, asked: tuple[str, str], limit: int, backend_timings: Path | None
) -> Runner:
    """Load an .onnx file in the requested backend, or in the first of those in order that supports it.

    Raises:
        CheckpointError, ValueError: none does; the first one's error.
    """
    backend, dtype = asked
    load = partial(open_onnx, file, device=device, dtype=dtype, max_batch_size=limit)
    order = order_onnx_backends(file, device=device, timings=backend_timings) if backend == "auto" else [backend]
    model = _load_first(load, order)
    runner = OnnxRunner(model)
    if model.device != "cpu" or model.backend not in RUNTIMES:
        return runner
    choice = choose_onnx_batch(
        file,
        backend=model.backend,
        family=model.metadata.family,
        dtype=model.dtype,
        asked=asked,
        timings=backend_timings,
    )
    return _with_choice(runner, choice)


def _load_first(load: Callable[[str], OnnxModel], backends: list[str]) -> OnnxModel:
    """Load a file in the first backend that supports its operators and the dtype; raises the first one's error."""
    first, *others = backends
    try:
        return load(first)
    except ValueError as error:
        for backend in others:
            with suppress(ValueError):
                return load(backend)
        raise error


def _with_choice(runner: OnnxRunner | TorchRunner, choice: BackendChoice) -> Runner:
    """Add the choice of backend, dtype and batch size to a runner's description."""
    explanation = "; ".join(filter(None, (runner.info.choice.rstrip("."), choice.reason)))
    runner.info = replace(runner.info, choice=explanation, preferred_batch=choice.preferred_batch)
    return runner


def start_worker(
    source: str,
    name: str,
    max_batch_size: int | None = None,
    *,
    version: int = 1,
    max_delay: float = 0.0,
    metrics: Metrics | None = None,
    **options: Unpack[ModelOptions],
) -> Worker:
    """Load a model, warm it up and start its worker. Blocks until then.

    Args:
        max_batch_size: default: the preferred batch size of rule or table, else DEFAULT_MAX_BATCH_SIZE.

    Raises:
        LookupError, ValueError: the model was not found or cannot be loaded.
    """
    runner = load_runner(source, max_batch_size=max_batch_size, **options)
    batch_size = max_batch_size or runner.info.preferred_batch or DEFAULT_MAX_BATCH_SIZE
    worker = Worker(runner, name=name, version=version, max_batch_size=batch_size, max_delay=max_delay, metrics=metrics)
    worker.start()
    return worker
