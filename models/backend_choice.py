"""Backend choice on a CPU: by a table of timings where one applies, else by the rule; nothing is timed.

No torch at import; only a checkpoint, which needs it anyway, imports it.
"""

from pathlib import Path
from typing import Unpack

from . import backend_rule
from .backend_rule import RUNTIMES, BackendChoice, Machine, describe_choice
from .backend_timings import Entry, TimingsTable, choose, load_table, subject_of_file
from .checkpoints.sources import Overrides
from .onnx.model import file_bytes
from .onnx.onnxruntime_model import CUDA, require_onnxruntime
from .packages import installed


def choose_checkpoint_backend(
    source: str,
    *,
    device: str = "auto",
    dtype: str = "auto",
    backend: str = "auto",
    timings: Path | None = None,
    machine: Machine | None = None,
    **overrides: Unpack[Overrides],
) -> BackendChoice:
    """Backend, dtype and batch size of a checkpoint; on a GPU they stay as requested.

    Args:
        timings: table of `tessella tune`; by default the one in the cache folder.
        machine: by default this one.

    Raises:
        CheckpointError, ModelNotFoundError, ValueError: the checkpoint cannot be loaded.
    """
    if backend not in ("auto", *RUNTIMES) or not _on_cpu(device, backend):
        return BackendChoice(backend, dtype)
    from .registry import describe

    config = describe(source, **overrides).config
    return choose(config, machine or Machine.current(), load_table(timings), backend=backend, dtype=dtype)


def order_onnx_backends(path: Path, *, device: str, timings: Path | None = None) -> list[str]:
    """Backends of an .onnx file for `auto`, in order of preference; some may not support its operators or the dtype."""
    if device not in ("auto", "cpu") or _has_cuda_provider(device):
        return ["onnxruntime"]
    order = backend_rule.file_backends(file_bytes(path), Machine.current()) or ["onnxruntime"]
    _, entry = _file_entry(path, timings)
    return sorted(order, key=lambda name: entry is None or name != entry.choice.backend)


def choose_onnx_batch(
    path: Path, *, backend: str, family: str, dtype: str, asked: tuple[str, str], timings: Path | None = None
) -> BackendChoice:
    """Batch size of an .onnx file that is loaded on a CPU, and the clause on what was chosen.

    Args:
        backend, family, dtype: of the loaded file.
        asked: backend and dtype as requested.
    """
    machine = Machine.current()
    table, entry = _file_entry(path, timings)
    if table and entry and asked[1] == "auto":
        choice = table.choose(entry, machine.cores, backend=asked[0], dtype=dtype)
        if choice is not None and choice.backend == backend:
            return choice
    batch = backend_rule.file_batch(file_bytes(path), family, dtype, machine)
    parts = [backend] if asked[0] == "auto" else []
    return BackendChoice(backend, dtype, batch, describe_choice("the rule for CPUs", parts, batch))


def _file_entry(path: Path, timings: Path | None) -> tuple[TimingsTable | None, Entry | None]:
    table = load_table(timings)
    return table, table.find(subject_of_file(path, file_bytes(path)), "auto") if table else None


def _on_cpu(device: str, backend: str) -> bool:
    """True if a checkpoint runs on the CPU in the requested backend."""
    if device != "auto":
        return device == "cpu"
    if backend == "onnxruntime":
        return not _has_cuda_provider(device)
    return backend == "openvino" or not _has_gpu()


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _has_cuda_provider(device: str) -> bool:
    return device == "auto" and installed("onnxruntime") and CUDA in require_onnxruntime().get_available_providers()
