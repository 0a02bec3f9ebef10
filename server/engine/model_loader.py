"""Model loader: the runner of a source, on the requested backend or the fastest one measured here, and its worker."""

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypedDict, Unpack

from ...models.backend_choice import (
    choose_checkpoint_backend,
    choose_checkpoint_batch_size,
    choose_onnx_backend,
    choose_onnx_batch_size,
)
from ...models.backend_timings import RUNTIMES, BackendChoice
from ...models.cache import CacheError
from ...models.checkpoints.sources import Overrides, onnx_file
from ...models.errors import CheckpointError, OperatorError
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
) -> Runner:
    """Load a model.

    Args:
        source: shipped name, file (`.onnx` too), folder or hub id.
        max_batch_size: None: on a CPU the best batch size is measured once.
        device, dtype, backend, batch_invariant, architecture, image_size: as in `Settings`.

    Raises:
        LookupError, ValueError: the model was not found, cannot be loaded, or the backend does not support it.
    """
    file = onnx_file(source)
    if batch_invariant and (file is not None or backend in BACKENDS):
        reason = f"{source} is an ONNX file" if file is not None else f"the backend is {backend!r}"
        raise ValueError(f"batch invariance needs a checkpoint and backend 'triton', but {reason}")
    overrides = _overrides(architecture, image_size)
    if file is not None:
        if overrides:
            raise ValueError(f"{source} is an ONNX file: --architecture and --image-size apply to checkpoints only")
        return _load_onnx_file(file, device=device, dtype=dtype, backend=backend, max_batch_size=max_batch_size)
    if not installed("torch"):
        raise ValueError(f"{source} is a checkpoint, which needs torch (pip install 'tessella[torch]'); .onnx does not")
    choice = BackendChoice(backend, "")
    if backend == "auto" and not batch_invariant:
        choice = choose_checkpoint_backend(source, device=device, dtype=dtype, **overrides)
    runner: OnnxRunner | TorchRunner | None = None
    if choice.backend in BACKENDS:
        runner, choice = _load_exported(
            source, choice, backend, device=device, dtype=dtype, limit=max_batch_size, **overrides
        )
    if runner is None:
        runner = TorchRunner(
            source, device=device, dtype=dtype, backend=choice.backend, batch_invariant=batch_invariant, **overrides
        )
    measure = partial(choose_checkpoint_batch_size, source, backend=runner.info.backend, dtype=dtype, **overrides)
    return _with_choice(runner, choice, measure, max_batch_size)


def _overrides(architecture: str | None, image_size: int | None) -> Overrides:
    """Overrides that are set."""
    overrides = Overrides()
    if architecture is not None:
        overrides["architecture"] = architecture
    if image_size is not None:
        overrides["image_size"] = image_size
    return overrides


def _load_exported(
    source: str,
    choice: BackendChoice,
    requested: str,
    *,
    device: str,
    dtype: str,
    limit: int | None,
    **overrides: Unpack[Overrides],
) -> tuple[OnnxRunner | None, BackendChoice]:
    """Export and load a checkpoint in an ONNX runtime.

    Returns:
        The runner, or None and the choice of torch if `requested` is "auto" and the export fails.
    """
    load = partial(
        open_onnx, backend=choice.backend, device=device, dtype=dtype, max_batch_size=limit or DEFAULT_MAX_BATCH_SIZE
    )
    try:
        model = load_cached_export(
            source, load, dtype=dtype if choice.backend != "openvino" else "float32", **overrides
        )
    except (CheckpointError, CacheError) as error:
        if requested != "auto":
            raise
        _log.warning("%s runs on torch instead of the faster %s: %s", source, choice.backend, error)
        return None, BackendChoice("torch", f"the faster {choice.backend} failed to load")
    load_checkpoint = partial(
        TorchRunner, source, device="cpu" if model.device == "cpu" else device, backend="torch", **overrides
    )
    return OnnxRunner(
        model, load_checkpoint=load_checkpoint, results=result_shapes(describe(source, **overrides).config)
    ), choice


def _load_onnx_file(file: Path, *, device: str, dtype: str, backend: str, max_batch_size: int | None) -> Runner:
    choice = BackendChoice(backend, "")
    if backend == "auto":
        choice = choose_onnx_backend(file, device=device, dtype=dtype)
    load = partial(open_onnx, file, device=device, dtype=dtype, max_batch_size=max_batch_size or DEFAULT_MAX_BATCH_SIZE)
    try:
        model = load(choice.backend)
    except OperatorError:
        fallback = _load_in_openvino(load) if backend == "auto" and device in ("auto", "cpu") else None
        if fallback is None:
            raise
        model = fallback
    measure = partial(choose_onnx_batch_size, file, backend=model.backend, dtype=dtype)
    return _with_choice(OnnxRunner(model), choice, measure, max_batch_size)


def _load_in_openvino(load: Callable[[str], OnnxModel]) -> OnnxModel | None:
    """Load a file with operators that onnxruntime lacks, as in bfloat16; None if OpenVINO cannot load it either."""
    try:
        return load("openvino")
    except ValueError:
        return None


def _with_choice(
    runner: OnnxRunner | TorchRunner,
    choice: BackendChoice,
    measure: Callable[..., BackendChoice],
    max_batch_size: int | None,
) -> Runner:
    """Add the choice of backend and batch size to a runner's description; `measure` runs if no timing is known yet."""
    measurable = runner.info.device == "cpu" and runner.info.backend in RUNTIMES
    if measurable and max_batch_size is None and not choice.reason:
        choice = measure(runner.run, size=runner.info.preprocessing.size)
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
        max_batch_size: default: on a CPU the measured best, else DEFAULT_MAX_BATCH_SIZE.

    Raises:
        LookupError, ValueError: the model was not found or cannot be loaded.
    """
    runner = load_runner(source, max_batch_size=max_batch_size, **options)
    batch_size = max_batch_size or runner.info.preferred_batch or DEFAULT_MAX_BATCH_SIZE
    worker = Worker(runner, name=name, version=version, max_batch_size=batch_size, max_delay=max_delay, metrics=metrics)
    worker.start()
    return worker
