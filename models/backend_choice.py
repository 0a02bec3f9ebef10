"""Backend choice on a CPU: the fastest one and its batch size, measured only for large networks.

No torch at import; only a checkpoint, which needs it anyway, imports it.
"""

import logging
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from . import costs
from .backend_timings import BackendChoice, RunBatch, batch_size, choose_fastest, load_or_measure
from .cache import CacheError
from .checkpoints.sources import Overrides
from .onnx.export_cache import load_cached_export
from .onnx.model import OnnxModel, file_bytes
from .onnx.onnxruntime_model import CUDA
from .packages import installed
from .preprocessing.images import Pixels

SMALL_MACS = 100_000_000
"""Multiply-accumulates below which a network is not measured, as any backend runs it in a few milliseconds."""
SMALL_BYTES = 8 * 2**20
"""Size of an .onnx file below which it is not measured, as its arithmetic is not known before it is loaded."""
_EXPORT_PACKAGES = ("onnx", "onnx_ir", "onnxruntime")
_log = logging.getLogger(__name__)


def choose_checkpoint_backend(source: str, *, device: str, dtype: str, **overrides: Unpack[Overrides]) -> BackendChoice:
    """Backend for a checkpoint: measured for a large network on a CPU if it can be exported, else `auto` at once.

    Raises:
        CheckpointError, ModelNotFoundError, ValueError: the checkpoint cannot be loaded.
    """
    if device not in ("auto", "cpu") or _has_gpu(device) or not _can_export():
        return BackendChoice("auto", "")
    if (subject := _large_checkpoint(source, overrides)) is None:
        return BackendChoice("auto", "")
    config, name = subject
    return load_or_measure(
        config, dtype, name, lambda: choose_fastest(_checkpoint_runs(source, dtype, overrides)), backend="auto"
    )


def choose_onnx_backend(path: Path, *, device: str, dtype: str) -> BackendChoice:
    """Backend for an .onnx file: onnxruntime, unless OpenVINO is installed too and measured faster on a large file.

    Raises:
        CheckpointError, ValueError: neither runtime loads the file and computes in `dtype`.
    """
    if device not in ("auto", "cpu") or not installed("onnxruntime"):
        return BackendChoice("openvino" if device in ("auto", "cpu") and installed("openvino") else "onnxruntime", "")
    if not installed("openvino") or _has_cuda_provider(device) or _is_small(path):
        return BackendChoice("onnxruntime", "")
    return load_or_measure(
        _stamp(path), dtype, path.stem, lambda: choose_fastest(_file_runs(path, dtype)), backend="auto"
    )


def choose_checkpoint_batch_size(
    source: str, run: Callable[[Pixels], object], *, size: int, backend: str, dtype: str, **overrides: Unpack[Overrides]
) -> BackendChoice:
    """Batch size of a checkpoint in a given backend, as `preferred_batch`; not measured for a small network.

    Args:
        run: function of uint8 pixels (B, size, size, 3).
        size: side of the input in pixels.
    """
    if (subject := _large_checkpoint(source, overrides)) is None:
        return BackendChoice(backend, "")
    config, name = subject
    return load_or_measure(config, dtype, name, lambda: choose_fastest({backend: _run(run, size)}), backend=backend)


def choose_onnx_batch_size(
    path: Path, run: Callable[[Pixels], object], *, size: int, backend: str, dtype: str
) -> BackendChoice:
    """Batch size of an .onnx file in a given backend; as `choose_checkpoint_batch_size`."""
    if _is_small(path):
        return BackendChoice(backend, "")
    return load_or_measure(
        _stamp(path), dtype, path.stem, lambda: choose_fastest({backend: _run(run, size)}), backend=backend
    )


def _large_checkpoint(source: str, overrides: Overrides) -> tuple[dict[str, Any], str] | None:
    """Configuration and name of a classifier that is large enough to be measured, else None; weights are not loaded."""
    from .registry import describe

    description = describe(source, **overrides)
    config = description.config
    if costs.macs(config) < SMALL_MACS or not config.num_classes:
        return None
    return asdict(config), description.name


def _checkpoint_runs(source: str, dtype: str, overrides: Overrides) -> dict[str, RunBatch]:
    """Runs of a checkpoint by backend: those that are installed and compute in `dtype`."""
    from .execution.dtype import limit_threads
    from .registry import load_model

    limit_threads()
    model = load_model(source, device="cpu", dtype=dtype, **overrides)
    runs = {"torch": _run(model.logits, model.preprocessing.size)}
    try:
        return runs | load_cached_export(source, lambda path: _file_runs(path, dtype), **overrides)
    except CacheError:
        raise
    except (ValueError, RuntimeError) as error:
        _log.warning("%s cannot be exported to ONNX, so torch runs it: %s", source, error)
    return runs


def _file_runs(path: Path, dtype: str) -> dict[str, RunBatch]:
    """Runs of an .onnx file by runtime: those that load the file and compute in `dtype`.

    Raises:
        CheckpointError, ValueError: none does; the first runtime's error.
    """
    from .onnx.onnxruntime_model import OnnxRuntimeModel

    models: list[OnnxModel] = []
    first_error: ValueError | None = None
    loaders: list[Callable[[], OnnxModel | None]]
    loaders = [lambda: OnnxRuntimeModel(path, device="cpu"), lambda: _openvino(path, dtype)]
    for load in loaders:
        try:
            models += filter(None, [load()])
        except ValueError as error:
            _log.info("%s is not measured in every runtime: %s", path, error)
            first_error = first_error or error
    supported = [model for model in models if model.backend == "openvino" or dtype in ("auto", model.dtype)]
    if not supported and first_error:
        raise first_error
    return {model.backend: _run(model.logits, model.metadata.preprocessing.size) for model in supported}


def _openvino(path: Path, dtype: str) -> OnnxModel | None:
    from .onnx.openvino_model import OpenVINOModel

    return OpenVINOModel(path, dtype=dtype) if installed("openvino") else None


def _run(run: Callable[[Pixels], object], size: int) -> RunBatch:
    pixels = np.random.default_rng(0).integers(0, 256, (batch_size(), size, size, 3), dtype=np.uint8)
    return lambda count: run(pixels[:count])


def _is_small(path: Path) -> bool:
    return file_bytes(path) < SMALL_BYTES


def _stamp(path: Path) -> tuple[str, int, int]:
    """Path, size and modification time, which identify a file's content."""
    return str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns


def _can_export() -> bool:
    """True if a checkpoint can be exported to ONNX and run there."""
    return all(map(installed, _EXPORT_PACKAGES))


def _has_gpu(device: str) -> bool:
    import torch

    return device == "auto" and torch.cuda.is_available()


def _has_cuda_provider(device: str) -> bool:
    from .onnx.onnxruntime_model import require_onnxruntime

    return device == "auto" and CUDA in require_onnxruntime().get_available_providers()
