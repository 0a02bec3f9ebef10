"""A model's source -> the runner that serves it: the backend that was asked for, or the one measured fastest here."""

from functools import partial
from pathlib import Path
from typing import TypedDict, Unpack

from ..models.cpu_choice import Choice, choose_for_checkpoint, choose_for_file
from ..models.packages import installed
from ..models.registry import describe
from ..models.sources import Said, onnx_file
from .metrics import Metrics
from .onnx_runner import BACKENDS, OnnxRunner, open_onnx
from .runners import Runner, TorchRunner
from .settings import Settings
from .tasks import results_of
from .worker import Worker


class Choices(TypedDict, total=False):
    """What a user may choose of how a model runs; as in `tessella serve`."""

    device: str
    dtype: str
    backend: str
    batch_invariant: bool
    architecture: str | None
    image_size: int | None


def choices_of(settings: Settings) -> Choices:
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
    max_batch_size: int = 32,
    batch_invariant: bool = False,
    architecture: str | None = None,
    image_size: int | None = None,
) -> Runner:
    """Loads a model.

    Args:
        source: a shipped name, a file (`.onnx` too), a folder or a hub id.
        device, dtype, backend, batch_invariant, architecture, image_size: as in `tessella serve`.

    Raises:
        LookupError, ValueError: the model cannot be found or loaded, or not by this backend.
    """
    file = onnx_file(source)
    if batch_invariant and (file is not None or backend in BACKENDS):
        runs = f"{source} is run by an ONNX runtime" if file is not None else f"backend {backend!r} was asked for"
        raise ValueError(f"batch invariance needs a checkpoint and backend 'triton', and {runs}")
    said = _said(architecture, image_size)
    if file is not None:
        if said:
            raise ValueError(f"{source} is an ONNX file: --architecture and --image-size are for checkpoints")
        return _from_file(file, device=device, dtype=dtype, backend=backend, max_batch_size=max_batch_size)
    if not installed("torch"):
        raise ValueError(f"{source} is a checkpoint, which needs torch (pip install 'tessella[torch]'); .onnx does not")
    choice = Choice(backend, "")
    if backend == "auto" and not batch_invariant:
        choice = choose_for_checkpoint(source, device=device, dtype=dtype, **said)
    if choice.backend not in BACKENDS:
        return TorchRunner(
            source, device=device, dtype=dtype, backend=choice.backend, batch_invariant=batch_invariant, **said
        )
    from ..models.onnx_exports import exported

    file = exported(source, dtype=dtype if choice.backend != "openvino" else "float32", **said)
    model = open_onnx(file, choice.backend, device=device, dtype=dtype, max_batch_size=max_batch_size)
    plain = partial(TorchRunner, source, device="cpu" if model.device == "cpu" else device, backend="torch", **said)
    return OnnxRunner(model, choice.reason, plain=plain, results=results_of(describe(source, **said).config))


def _said(architecture: str | None, image_size: int | None) -> Said:
    """What was given of the two."""
    said = Said()
    if architecture is not None:
        said["architecture"] = architecture
    if image_size is not None:
        said["image_size"] = image_size
    return said


def _from_file(file: Path, *, device: str, dtype: str, backend: str, max_batch_size: int) -> Runner:
    choice = Choice(backend, "")
    if backend == "auto":
        choice = choose_for_file(file, device=device, dtype=dtype)
    model = open_onnx(file, choice.backend, device=device, dtype=dtype, max_batch_size=max_batch_size)
    return OnnxRunner(model, choice.reason)


def start_worker(
    source: str,
    name: str,
    max_batch_size: int,
    *,
    version: int = 1,
    max_delay: float = 0.0,
    metrics: Metrics | None = None,
    **choices: Unpack[Choices],
) -> Worker:
    """Loads a checkpoint, warms it up, and starts the thread that runs it. Blocks until then.

    Raises:
        LookupError, ValueError: the model cannot be found or loaded.
    """
    runner = load_runner(source, max_batch_size=max_batch_size, **choices)
    worker = Worker(
        runner, name=name, version=version, max_batch_size=max_batch_size, max_delay=max_delay, metrics=metrics
    )
    worker.start()
    return worker
