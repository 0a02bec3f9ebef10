"""Which backend runs a network fastest on this CPU: measured once, remembered, and not asked where it hardly matters.

Knows no torch until a checkpoint, which needs it anyway, is measured.
"""

import hashlib
import json
import logging
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from . import costs, cpu
from .cache import CacheError, cache_folder, make_cache
from .packages import installed, version
from .sources import Said

SMALL_MACS = 100_000_000
"""Multiplications of a network that any backend runs in a few milliseconds: it is not worth a second of measuring."""
SMALL_BYTES = 8 * 2**20
"""The same of an .onnx file, whose arithmetic is not known before it is loaded."""
_ROUNDS = 7
_RUNTIMES = ("torch", "onnxruntime", "openvino")
_WRITERS = ("onnx", "onnxscript", "onnxruntime")
_log = logging.getLogger(__name__)

Call = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Choice:
    """A backend, and a sentence on why; `milliseconds` of one image with each that was measured."""

    backend: str
    reason: str
    milliseconds: Mapping[str, float] | None = None


def choose_for_checkpoint(source: str, *, device: str, dtype: str, **said: Unpack[Said]) -> Choice:
    """For a checkpoint. Where it is not on a CPU, small, or torch is alone here: torch, at once.

    Raises:
        CheckpointError, ModelNotFoundError, ValueError: it cannot be loaded.
    """
    from .registry import describe

    if device not in ("auto", "cpu") or _has_gpu(device) or not _others():
        return Choice("auto", "")
    config = describe(source, **said).config
    if costs.macs(config) < SMALL_MACS or not config.num_classes:
        return Choice("auto", "")
    return _remembered_or(_key(asdict(config), dtype), lambda: _checkpoint_calls(source, dtype, said))


def choose_for_file(path: Path, *, device: str, dtype: str) -> Choice:
    """For an .onnx file: onnxruntime, unless it is large, OpenVINO is here too, and that measured faster."""
    if device not in ("auto", "cpu") or not installed("onnxruntime"):
        return Choice("openvino" if device in ("auto", "cpu") and installed("openvino") else "onnxruntime", "")
    if not installed("openvino") or _has_cuda_provider(device) or path.stat().st_size < SMALL_BYTES:
        return Choice("onnxruntime", "")
    stamp = (str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns)
    return _remembered_or(_key(stamp, dtype), lambda: _file_calls(path, dtype))


def remembered() -> list[str]:
    """What was measured on this machine before, a sentence each."""
    files = sorted(cache_folder("choices").glob("*.json"), key=lambda file: file.stat().st_mtime)
    return [f"{document['network']}: {document['reason']}" for file in files if (document := _read(file))]


def _remembered_or(key: str, make_calls: Callable[[], tuple[str, dict[str, Call]]]) -> Choice:
    file = cache_folder("choices") / f"{key}.json"
    if document := _read(file):
        return Choice(document["backend"], document["reason"], document["milliseconds"])
    try:
        make_cache(file.parent)
    except CacheError as error:
        _log.warning("it is not measured which backend is fastest on this CPU: %s", error)
        return Choice("auto", "not measured, as the cache cannot be written")
    _log.info("measuring which backend is fastest on this CPU: once, then it is remembered")
    network, calls = make_calls()
    choice = fastest(calls)
    file.write_text(json.dumps({"network": network, **asdict(choice)}))
    return choice


def fastest(calls: Mapping[str, Call]) -> Choice:
    """The quickest of the calls, by the median of rounds in turns; each is called twice before."""
    for call in calls.values():
        call()
        call()
    times: dict[str, list[float]] = {backend: [] for backend in calls}
    for _ in range(_ROUNDS):
        for backend, call in calls.items():
            started = time.perf_counter()
            call()
            times[backend].append(time.perf_counter() - started)
    medians = {backend: 1e3 * statistics.median(column) for backend, column in times.items()}
    best = min(medians, key=lambda backend: medians[backend])
    figures = ", ".join(f"{backend} {medians[backend]:.1f} ms" for backend in sorted(medians, key=lambda b: medians[b]))
    return Choice(best, f"measured fastest here for one image: {figures}", medians)


def _checkpoint_calls(source: str, dtype: str, said: Said) -> tuple[str, dict[str, Call]]:
    """The network's name, and one image through each backend that is installed and computes in `dtype`."""
    from .onnx_exports import exported
    from .registry import load_model

    model = load_model(source, device="cpu", dtype=dtype, **said)
    pixels = _pixels(model.preprocessing.size)
    calls: dict[str, Call] = {"torch": lambda: model.logits(pixels)}
    try:
        calls |= _runtime_calls(exported(source, **said), dtype)
    except (ValueError, RuntimeError) as error:  # a network that cannot be exported is served by torch
        _log.warning("%s is left to torch: %s", source, error)
    return model.name, calls


def _file_calls(path: Path, dtype: str) -> tuple[str, dict[str, Call]]:
    return path.stem, _runtime_calls(path, dtype)


def _runtime_calls(path: Path, dtype: str) -> dict[str, Call]:
    from .onnx_session import OnnxSession
    from .openvino_model import OpenVINOModel

    calls: dict[str, Call] = {}
    session = OnnxSession(path, device="cpu")
    pixels = _pixels(session.card.preprocessing.size)
    only = session.card.preprocesses
    if only or dtype in ("auto", session.dtype):
        calls["onnxruntime"] = lambda: session.logits(pixels)
    if installed("openvino") and not only:
        model = OpenVINOModel(path, dtype=dtype)
        calls["openvino"] = lambda: model.logits(pixels)
    return calls


def _pixels(size: int) -> Any:
    return np.random.default_rng(0).integers(0, 256, (1, size, size, 3), dtype=np.uint8)


def _others() -> bool:
    """Whether a checkpoint has a choice: it can be exported, and there is a runtime for it."""
    return all(map(installed, _WRITERS))


def _has_gpu(device: str) -> bool:
    import torch

    return device == "auto" and torch.cuda.is_available()


def _has_cuda_provider(device: str) -> bool:
    import onnxruntime

    return device == "auto" and "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def _key(subject: object, dtype: str) -> str:
    """Of the network or file, and of all that decides how fast it is."""
    versions = {name: version(name) for name in ("tessella", *_RUNTIMES) if installed(name)}
    parts = (subject, dtype, cpu.name(), cpu.usable_cores(), versions)
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


def _read(file: Path) -> dict[str, Any] | None:
    """A remembered choice, or None where there is none that can be read."""
    try:
        document = json.loads(file.read_text())
        return document if {"network", "backend", "reason", "milliseconds"} <= document.keys() else None
    except (OSError, ValueError, AttributeError):
        return None
