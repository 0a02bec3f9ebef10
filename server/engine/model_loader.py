"""A model's source -> the runner that serves it: the backend that was asked for, or the one measured fastest here."""

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


class EngineLimits(TypedDict, total=False):
    """What an engine may take on; see AsyncEngine."""

    max_queue: int
    decode_threads: int | None
    max_pixels: int
    scaled_decode: bool
    max_gpu_resize_pixels: int
    metrics: Metrics | None


def engine_limits(settings: Settings, metrics: Metrics, max_queue: int) -> EngineLimits:
    """What the service's settings say of it, wherever an engine's model runs."""
    return {
        "max_queue": max_queue,
        "decode_threads": settings.decode_threads,
        "max_pixels": settings.max_pixels,
        "scaled_decode": settings.scaled_decode,
        "max_gpu_resize_pixels": settings.max_gpu_resize_pixels,
        "metrics": metrics,
    }


DEFAULT_MAX_BATCH_SIZE = 32
_log = logging.getLogger(__name__)


class ModelOptions(TypedDict, total=False):
    """What a user may choose of how a model runs; as in `tessella serve`."""

    device: str
    dtype: str
    backend: str
    batch_invariant: bool
    architecture: str | None
    image_size: int | None


def model_options(settings: Settings) -> ModelOptions:
    """What the service's settings say of it, the same wherever a model is loaded."""
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
    """Loads a model.

    Args:
        source: a shipped name, a file (`.onnx` too), a folder or a hub id.
        max_batch_size: without one it is measured, once, whether batches gain on a CPU.
        device, dtype, backend, batch_invariant, architecture, image_size: as in `tessella serve`.

    Raises:
        LookupError, ValueError: the model cannot be found or loaded, or not by this backend.
    """
    file = onnx_file(source)
    if batch_invariant and (file is not None or backend in BACKENDS):
        runs = f"{source} is run by an ONNX runtime" if file is not None else f"backend {backend!r} was asked for"
        raise ValueError(f"batch invariance needs a checkpoint and backend 'triton', and {runs}")
    overrides = _overrides(architecture, image_size)
    if file is not None:
        if overrides:
            raise ValueError(f"{source} is an ONNX file: --architecture and --image-size are for checkpoints")
        return _from_file(file, device=device, dtype=dtype, backend=backend, max_batch_size=max_batch_size)
    if not installed("torch"):
        raise ValueError(f"{source} is a checkpoint, which needs torch (pip install 'tessella[torch]'); .onnx does not")
    choice = BackendChoice(backend, "")
    if backend == "auto" and not batch_invariant:
        choice = choose_checkpoint_backend(source, device=device, dtype=dtype, **overrides)
    runner: OnnxRunner | TorchRunner | None = None
    if choice.backend in BACKENDS:
        runner, choice = _exported(
            source, choice, backend, device=device, dtype=dtype, limit=max_batch_size, **overrides
        )
    if runner is None:
        runner = TorchRunner(
            source, device=device, dtype=dtype, backend=choice.backend, batch_invariant=batch_invariant, **overrides
        )
    measure = partial(choose_checkpoint_batch_size, source, backend=runner.info.backend, dtype=dtype, **overrides)
    return _told(runner, choice, measure, max_batch_size)


def _overrides(architecture: str | None, image_size: int | None) -> Overrides:
    """What was given of the two."""
    overrides = Overrides()
    if architecture is not None:
        overrides["architecture"] = architecture
    if image_size is not None:
        overrides["image_size"] = image_size
    return overrides


def _exported(
    source: str,
    choice: BackendChoice,
    asked: str,
    *,
    device: str,
    dtype: str,
    limit: int | None,
    **overrides: Unpack[Overrides],
) -> tuple[OnnxRunner | None, BackendChoice]:
    """A checkpoint in a runtime for ONNX; None, and torch, where that was not asked for and its file cannot be had."""
    load = partial(
        open_onnx, backend=choice.backend, device=device, dtype=dtype, max_batch_size=limit or DEFAULT_MAX_BATCH_SIZE
    )
    try:
        model = load_cached_export(
            source, load, dtype=dtype if choice.backend != "openvino" else "float32", **overrides
        )
    except (CheckpointError, CacheError) as error:
        if asked != "auto":
            raise
        _log.warning("%s runs on torch, not on %s, which was fastest here: %s", source, choice.backend, error)
        return None, BackendChoice("torch", f"{choice.backend}, which was fastest here, could not be had")
    plain = partial(
        TorchRunner, source, device="cpu" if model.device == "cpu" else device, backend="torch", **overrides
    )
    return OnnxRunner(model, plain=plain, results=result_shapes(describe(source, **overrides).config)), choice


def _from_file(file: Path, *, device: str, dtype: str, backend: str, max_batch_size: int | None) -> Runner:
    choice = BackendChoice(backend, "")
    if backend == "auto":
        choice = choose_onnx_backend(file, device=device, dtype=dtype)
    load = partial(open_onnx, file, device=device, dtype=dtype, max_batch_size=max_batch_size or DEFAULT_MAX_BATCH_SIZE)
    try:
        model = load(choice.backend)
    except OperatorError:
        other = _in_openvino(load) if backend == "auto" and device in ("auto", "cpu") else None
        if other is None:
            raise
        model = other
    measure = partial(choose_onnx_batch_size, file, backend=model.backend, dtype=dtype)
    return _told(OnnxRunner(model), choice, measure, max_batch_size)


def _in_openvino(load: Callable[[str], OnnxModel]) -> OnnxModel | None:
    """A file with operators that onnxruntime lacks, as in bfloat16; None where OpenVINO does not load it either."""
    try:
        return load("openvino")
    except ValueError:
        return None


def _told(
    runner: OnnxRunner | TorchRunner,
    choice: BackendChoice,
    measure: Callable[..., BackendChoice],
    max_batch_size: int | None,
) -> Runner:
    """The runner, whose information has what was measured of it; `measure` is called where that is still open."""
    measurable = runner.info.device == "cpu" and runner.info.backend in RUNTIMES
    if measurable and max_batch_size is None and not choice.reason:
        choice = measure(runner.run, size=runner.info.preprocessing.size)
    told = "; ".join(filter(None, (runner.info.choice.rstrip("."), choice.reason)))
    runner.info = replace(runner.info, choice=told, preferred_batch=choice.preferred_batch)
    return runner


def start_worker(
    source: str,
    name: str,
    max_batch_size: int | None = None,
    *,
    version: int = 1,
    max_delay: float = 0.0,
    metrics: Metrics | None = None,
    **choices: Unpack[ModelOptions],
) -> Worker:
    """Loads a checkpoint, warms it up, and starts the thread that runs it. Blocks until then.

    Args:
        max_batch_size: by default what was measured to pay, on a CPU, else DEFAULT_MAX_BATCH_SIZE.

    Raises:
        LookupError, ValueError: the model cannot be found or loaded.
    """
    runner = load_runner(source, max_batch_size=max_batch_size, **choices)
    largest = max_batch_size or runner.info.preferred_batch or DEFAULT_MAX_BATCH_SIZE
    worker = Worker(runner, name=name, version=version, max_batch_size=largest, max_delay=max_delay, metrics=metrics)
    worker.start()
    return worker
