"""Checkpoint files -> tensors by name: safetensors and PyTorch's own format, told apart by content, never run."""

import argparse
import json
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from ..errors import CheckpointError, ModelNotFoundError

if TYPE_CHECKING:  # the shapes in a safetensors header are read where torch is not installed
    from torch import Tensor


SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
ONNX_SUFFIX = ".onnx"
INDEX_SUFFIX = ".index.json"
CONFIG_FILES = ("config.json", "preprocessor_config.json")
WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""In order of preference; an index names the files that a large checkpoint is split over."""


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The files that hold a folder's one checkpoint.

    Raises:
        ModelNotFoundError: the folder holds none.
        CheckpointError: it holds several, or its index names a file that is not there.
    """
    for name in WEIGHT_FILES:
        if (folder / name).is_file():
            return _shards(folder / name) if name.endswith(INDEX_SUFFIX) else (folder / name,)
    found = sorted(file for file in folder.iterdir() if file.suffix in SUFFIXES)
    if not found and (others := sorted(file.name for file in folder.glob(f"*{ONNX_SUFFIX}"))):
        raise CheckpointError(f"{folder} holds no weights, but {', '.join(others)}: name one file")
    if not found:
        raise ModelNotFoundError(
            f"{folder} holds no checkpoint: none of {', '.join(WEIGHT_FILES)}, and no *{SUFFIXES[0]}"
        )
    if len(found) > 1:
        raise CheckpointError(f"{folder} holds several checkpoints ({', '.join(f.name for f in found)}): name one")
    return (found[0],)


def _shards(index: Path) -> tuple[Path, ...]:
    names = sorted(set(read_json(index).get("weight_map", {}).values()))
    files = tuple(index.parent / name for name in names)
    if absent := [file.name for file in files if file.parent != index.parent or not file.is_file()]:
        raise CheckpointError(f"{index} names {', '.join(absent)}, which is not in its folder")
    if not files:
        raise CheckpointError(f"{index} names no files: expected a `weight_map` of tensors and files")
    return files


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        CheckpointError: it cannot be read, or is not one.
    """
    try:
        document = json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise CheckpointError(f"{file} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise CheckpointError(f"{file} holds a {type(document).__name__}; expected a JSON object")
    return document


STATE_DICT_KEYS = ("model_ema", "state_dict_ema", "model", "state_dict")
"""Keys under which training scripts keep the weights, in timm's order: an average over training goes first."""
NAME_PREFIXES = ("module.", "_orig_mod.")
"""Put before every name by DistributedDataParallel and by torch.compile."""


def read_shapes(files: Iterable[Path]) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every tensor; of safetensors only the headers are read.

    Raises:
        CheckpointError: as `read_tensors`.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for file in files:
        if is_safetensors(file):
            with _open_safetensors(file, "numpy") as opened:
                names: list[str] = opened.keys()
                shapes |= {name: tuple(opened.get_slice(name).get_shape()) for name in names}
        else:
            shapes |= {name: tuple(tensor.shape) for name, tensor in _read_pickle(file).items()}
    return _without_prefixes(shapes)


def read_tensors(files: Iterable[Path]) -> "dict[str, Tensor]":
    """Every tensor of one checkpoint's files, by name, on the CPU, without what wrappers put around or before them.

    Raises:
        CheckpointError: a file cannot be read, is empty, truncated, of neither format, or a pickle that carries code.
    """
    tensors: dict[str, Tensor] = {}
    for file in files:
        tensors |= _read_safetensors(file) if is_safetensors(file) else _read_pickle(file)
    return _without_prefixes(tensors)


def is_safetensors(file: Path) -> bool:
    """By content: PyTorch's files are zip archives or, before 1.6, bare pickles.

    Raises:
        CheckpointError: it cannot be read, or is neither.
    """
    try:
        with file.open("rb") as opened:
            start = opened.read(16)
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {error.strerror}") from error
    if start.startswith((b"PK\x03\x04", b"\x80\x02")):
        return False
    if start[8:9] == b"{":
        return True
    found = f"begins with {start!r}" if start else "is empty"
    raise CheckpointError(f"{file} {found}; expected a safetensors file or a PyTorch checkpoint")


def _open_safetensors(file: Path, framework: str) -> Any:
    try:
        return safe_open(file, framework=framework)
    except SafetensorError as error:
        raise CheckpointError(f"{file} is a damaged or truncated safetensors file: {error}") from error


def _read_safetensors(file: Path) -> "dict[str, Tensor]":
    with _open_safetensors(file, "pt") as opened:
        names: list[str] = opened.keys()
        return {name: opened.get_tensor(name) for name in names}


def _read_pickle(file: Path) -> "dict[str, Tensor]":
    import pickle

    import torch

    try:
        # a Namespace, which holds a training script's options beside the weights, runs nothing
        with file.open("rb") as opened, torch.serialization.safe_globals([argparse.Namespace]):
            document = torch.load(opened, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(_refusal(file, str(error))) from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise CheckpointError(f"{file} is a damaged or truncated PyTorch checkpoint: {error}") from error
    return _unwrapped(file, document)


def _refusal(file: Path, message: str) -> str:
    found = re.search(r"GLOBAL (\S+)", message)
    what = f"it would run or build {found[1]!r}" if found else message.partition("\n")[0]
    return f"{file} is refused: {what}. Served are pickles of tensors only; save the state dict, best as safetensors"


def _unwrapped(file: Path, document: Any) -> "dict[str, Tensor]":
    import torch

    for key in STATE_DICT_KEYS:
        if isinstance(document, Mapping) and isinstance(document.get(key), Mapping):
            document = document[key]
    if not isinstance(document, Mapping) or not document:
        raise CheckpointError(f"{file} holds {type(document).__name__}; expected a state dict: names and tensors")
    if others := [str(key) for key, value in document.items() if not isinstance(value, torch.Tensor)]:
        raise CheckpointError(
            f"{file} holds {', '.join(others[:5])}, which are no tensors; expected a state dict, bare or under "
            f"{', '.join(STATE_DICT_KEYS)}"
        )
    return dict(document)


def _without_prefixes(tensors: dict[str, Any]) -> dict[str, Any]:
    for prefix in NAME_PREFIXES:
        if tensors and all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def warn_if_not_finite(tensors: "Mapping[str, Tensor]", origin: str) -> None:
    """Warns where weights hold NaN or infinity: every answer of such a network is NaN."""
    if broken := [name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())]:
        warnings.warn(f"{origin}: NaN or infinite numbers in {', '.join(broken[:5])}", stacklevel=2)
