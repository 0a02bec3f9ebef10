"""Which backend runs a network fastest on this CPU, and whether batches gain: not asked where it hardly matters.

Knows no torch until a checkpoint, which needs it anyway, is measured.
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
from .onnx.export_cache import open_exported
from .onnx.model import OnnxModel, bytes_of
from .onnx.onnxruntime_model import CUDA
from .packages import installed
from .preprocessing.images import Pixels

SMALL_MACS = 100_000_000
"""Multiplications of a network that any backend runs in a few milliseconds: it is not worth a second of measuring."""
SMALL_BYTES = 8 * 2**20
"""The same of an .onnx file, whose arithmetic is not known before it is loaded."""
_WRITERS = ("onnx", "onnxscript", "onnxruntime")
_log = logging.getLogger(__name__)


def choose_checkpoint_backend(source: str, *, device: str, dtype: str, **overrides: Unpack[Overrides]) -> BackendChoice:
    """For a checkpoint. Where it is not on a CPU, small, or torch is alone here: torch, at once.

    Raises:
        CheckpointError, ModelNotFoundError, ValueError: it cannot be loaded.
    """
    if device not in ("auto", "cpu") or _has_gpu(device) or not _others():
        return BackendChoice("auto", "")
    if (subject := _large_checkpoint(source, overrides)) is None:
        return BackendChoice("auto", "")
    config, name = subject
    return load_or_measure(
        config, dtype, name, lambda: choose_fastest(_checkpoint_runs(source, dtype, overrides)), backend="auto"
    )


def choose_onnx_backend(path: Path, *, device: str, dtype: str) -> BackendChoice:
    """For an .onnx file: onnxruntime, unless it is large, OpenVINO is here too, and that measured faster.

    Raises:
        CheckpointError, ValueError: neither of them loads it and computes in `dtype`.
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
    """Whether batches gain in the one backend that there is for a checkpoint, or that was asked for.

    Args:
        run: takes uint8 pixels (B, size, size, 3).
    """
    if (subject := _large_checkpoint(source, overrides)) is None:
        return BackendChoice(backend, "")
    config, name = subject
    return load_or_measure(config, dtype, name, lambda: choose_fastest({backend: _run(run, size)}), backend=backend)


def choose_onnx_batch_size(
    path: Path, run: Callable[[Pixels], object], *, size: int, backend: str, dtype: str
) -> BackendChoice:
    """As `choose_checkpoint_batch_size`, for an .onnx file."""
    if _is_small(path):
        return BackendChoice(backend, "")
    return load_or_measure(
        _stamp(path), dtype, path.stem, lambda: choose_fastest({backend: _run(run, size)}), backend=backend
    )


def _large_checkpoint(source: str, overrides: Overrides) -> tuple[dict[str, Any], str] | None:
    """Its configuration and name, where it is worth measuring: what it costs is known without loading it."""
    from .registry import describe

    description = describe(source, **overrides)
    config = description.config
    if costs.macs(config) < SMALL_MACS or not config.num_classes:
        return None
    return asdict(config), description.name


def _checkpoint_runs(source: str, dtype: str, overrides: Overrides) -> dict[str, RunBatch]:
    """A run of each backend that is installed and computes in `dtype`."""
    from .execution.dtype import limit_threads
    from .registry import load_model

    limit_threads()
    model = load_model(source, device="cpu", dtype=dtype, **overrides)
    runs = {"torch": _run(model.logits, model.preprocessing.size)}
    try:
        return runs | open_exported(source, lambda path: _file_runs(path, dtype), **overrides)
    except CacheError:
        raise
    except (ValueError, RuntimeError) as error:  # a network that cannot be exported is served by torch
        _log.warning("%s is left to torch: %s", source, error)
    return runs


def _file_runs(path: Path, dtype: str) -> dict[str, RunBatch]:
    """Of each runtime that loads the file and computes in `dtype`.

    Raises:
        CheckpointError, ValueError: none does; what the first one says.
    """
    from .onnx.onnxruntime_model import OnnxSession

    models: list[OnnxModel] = []
    refusal: ValueError | None = None
    loaders: list[Callable[[], OnnxModel | None]]
    loaders = [lambda: OnnxSession(path, device="cpu"), lambda: _openvino(path, dtype)]
    for load in loaders:
        try:
            models += filter(None, [load()])
        except ValueError as error:
            _log.info("%s is not measured in each runtime: %s", path, error)
            refusal = refusal or error
    computing = [model for model in models if model.backend == "openvino" or dtype in ("auto", model.dtype)]
    if not computing and refusal:
        raise refusal
    return {model.backend: _run(model.logits, model.card.preprocessing.size) for model in computing}


def _openvino(path: Path, dtype: str) -> OnnxModel | None:
    from .onnx.openvino_model import OpenVINOModel

    return OpenVINOModel(path, dtype=dtype) if installed("openvino") else None


def _run(run: Callable[[Pixels], object], size: int) -> RunBatch:
    pixels = np.random.default_rng(0).integers(0, 256, (batch_size(), size, size, 3), dtype=np.uint8)
    return lambda count: run(pixels[:count])


def _is_small(path: Path) -> bool:
    return bytes_of(path) < SMALL_BYTES


def _stamp(path: Path) -> tuple[str, int, int]:
    return str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns


def _others() -> bool:
    """Whether a checkpoint has a choice: it can be exported, and there is a runtime for it."""
    return all(map(installed, _WRITERS))


def _has_gpu(device: str) -> bool:
    import torch

    return device == "auto" and torch.cuda.is_available()


def _has_cuda_provider(device: str) -> bool:
    from .onnx.onnxruntime_model import require_onnxruntime

    return device == "auto" and CUDA in require_onnxruntime().get_available_providers()
