"""Which files make a checkpoint in a folder: the names that the hub, timm and transformers use."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import CheckpointError, ModelNotFoundError

Document = Mapping[str, Any]
"""A JSON object."""
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
ONNX_SUFFIX = ".onnx"
INDEX_SUFFIX = ".index.json"
SIDECARS = ("config.json", "preprocessor_config.json")
WEIGHTS = (
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
    for name in WEIGHTS:
        if (folder / name).is_file():
            return _shards(folder / name) if name.endswith(INDEX_SUFFIX) else (folder / name,)
    found = sorted(file for file in folder.iterdir() if file.suffix in SUFFIXES)
    if not found and (others := sorted(file.name for file in folder.glob(f"*{ONNX_SUFFIX}"))):
        raise CheckpointError(f"{folder} holds no weights, but {', '.join(others)}: name one file")
    if not found:
        raise ModelNotFoundError(f"{folder} holds no checkpoint: none of {', '.join(WEIGHTS)}, and no *{SUFFIXES[0]}")
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
