"""Checkpoint files read into tensors: safetensors and PyTorch pickles, recognised by content; no code is run."""

import json
import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from ..errors import CheckpointError, ModelNotFoundError
from .key_maps import has_key_map

if TYPE_CHECKING:  # the shapes in a safetensors header are read where torch is not installed
    from torch import Tensor


SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".pth.tar")
ONNX_SUFFIX = ".onnx"
INDEX_SUFFIX = ".index.json"
ADAPTER_CONFIG = "adapter_config.json"
CONFIG_FILES = ("config.json", "preprocessor_config.json")
WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""Weight files in order of preference; an index names the files that a large checkpoint is split over."""
STATE_DICT_KEYS = (
    *("state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "ema"),
    *("teacher", "student"),
    *("state_dict", "model_state_dict", "model", "net", "network", "module"),
)
"""Keys of training checkpoints that hold the state dict, the preferred first: timm takes an EMA of the weights."""
NAME_PREFIXES = ("_orig_mod.", "module.", "_forward_module.", "model.", "net.", "network.", "backbone.")
"""Name prefixes of torch.compile, DistributedDataParallel, Lightning and training modules."""
EMA_COUNTER = "n_averaged"
"""Buffer of torch.optim.swa_utils.AveragedModel beside the weights."""


class _Discarded:
    """Placeholder for a value beside the weights, which is not built."""

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


_DISCARDED = (
    *(f"numpy.{core}.multiarray.scalar" for core in ("core", "_core")),
    *("numpy.dtype", "argparse.Namespace"),
    *(f"{module}.{kind}Path" for module in ("pathlib", "pathlib._local") for kind in ("Posix", "Windows")),
)
"""Types of options and metrics that training scripts save beside the weights."""


def weight_files(folder: Path) -> tuple[Path, ...]:
    """Weight files of the one checkpoint in a folder.

    Raises:
        ModelNotFoundError: the folder has no checkpoint.
        CheckpointError: it has several, or its index names a missing file.
    """
    for name in WEIGHT_FILES:
        if (folder / name).is_file():
            return _shards(folder / name) if name.endswith(INDEX_SUFFIX) else (folder / name,)
    if (folder / ADAPTER_CONFIG).is_file():
        raise CheckpointError(
            f"{folder} holds an adapter, such as LoRA's, without the network that it changes: merge both with "
            "peft's `merge_and_unload()`, and save the result with `save_pretrained`"
        )
    files = sorted(file for file in folder.iterdir() if file.name.endswith(SUFFIXES))
    if len(files) > 1:
        raise CheckpointError(
            f"{folder} holds several checkpoints ({', '.join(file.name for file in files)}): name one"
        )
    if not files:
        raise _no_weights(folder)
    return (files[0],)


def _no_weights(folder: Path) -> CheckpointError | ModelNotFoundError:
    """Error for a folder without weights, which names those of another kind or one folder below."""
    if onnx := sorted(file.name for file in folder.glob(f"*{ONNX_SUFFIX}")):
        return CheckpointError(f"{folder} holds no weights, but {', '.join(onnx)}: name one file")
    below = sorted(file for file in folder.glob("*/*") if file.name.endswith((*SUFFIXES, ONNX_SUFFIX)))
    names = [str(file.relative_to(folder)) for file in below]
    hint = f"; below it are {', '.join(names[:5])}{', …' if names[5:] else ''}: name one" if names else ""
    return ModelNotFoundError(
        f"{folder} holds no checkpoint: none of {', '.join(WEIGHT_FILES)}, and no *{', *'.join(SUFFIXES)}{hint}"
    )


def _shards(index: Path) -> tuple[Path, ...]:
    names = sorted(set(read_json(index).get("weight_map", {}).values()))
    files = tuple(index.parent / name for name in names)
    if absent := [file.name for file in files if file.parent != index.parent or not file.is_file()]:
        raise CheckpointError(f"{index} names {', '.join(absent)}, which is not in its folder")
    if not files:
        raise CheckpointError(f"{index} names no files: expected a `weight_map` of tensors and files")
    return files


def read_json(file: Path) -> dict[str, Any]:
    """JSON object in a file.

    Raises:
        CheckpointError: the file cannot be read, or holds something else.
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


def read_shapes(files: Iterable[Path]) -> dict[str, tuple[int, ...]]:
    """Shapes of all tensors by name; of safetensors only the headers are read.

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
    return _strip_prefixes(shapes)


def read_tensors(files: Iterable[Path]) -> "dict[str, Tensor]":
    """Tensors of one checkpoint by name, on the CPU, without training wrappers and their name prefixes.

    Raises:
        CheckpointError: a file cannot be read, is empty, truncated, of neither format, or a pickle that would run code.
    """
    tensors: dict[str, Tensor] = {}
    for file in files:
        tensors |= _read_safetensors(file) if is_safetensors(file) else _read_pickle(file)
    return _strip_prefixes(tensors)


def is_safetensors(file: Path) -> bool:
    """True for safetensors, False for PyTorch: zip archives or, before 1.6, bare pickles.

    Raises:
        CheckpointError: the file cannot be read, or is neither.
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
    content = f"begins with {start!r}" if start else "is empty"
    raise CheckpointError(f"{file} {content}; expected a safetensors file or a PyTorch checkpoint")


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

    if message := _archive_message(file):
        raise CheckpointError(message)
    try:
        with file.open("rb") as opened, torch.serialization.safe_globals([(_Discarded, name) for name in _DISCARDED]):
            document = torch.load(opened, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(_unpickling_message(file, str(error))) from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise CheckpointError(
            _archive_message(file) or f"{file} is a damaged or truncated PyTorch checkpoint: {error}"
        ) from error
    return _state_dict(file, document)


def _archive_message(file: Path) -> str | None:
    """Message for a zip archive of another kind, with the way to a state dict; None for anything else."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return None
    if any(name.endswith("/constants.pkl") for name in names):
        return (
            f"{file} is a TorchScript program, which holds code and is not run: save the state dict of the network, "
            f"`torch.save(torch.jit.load({file.name!r}).state_dict(), …)`"
        )
    if names and all(name.endswith(".npy") for name in names):
        return (
            f"{file} holds NumPy arrays, as Google's JAX checkpoints do: load it into timm's network "
            "(`timm.create_model(…, checkpoint_path=…)`), and save its state dict"
        )
    return None


def _unpickling_message(file: Path, message: str) -> str:
    match = re.search(r"GLOBAL (\S+)", message)
    reason = f"it would run or build {match[1]!r}" if match else message.partition("\n")[0]
    advice = "Only pickles of tensors are loaded; save the state dict, preferably as safetensors"
    return f"{file} is rejected: {reason}. {advice}"


def _state_dict(file: Path, document: Any) -> "dict[str, Tensor]":
    """State dict in a training checkpoint, below any number of wrapping keys."""
    import torch

    while key := next((key for key in STATE_DICT_KEYS if _is_wrapped(document, key)), None):
        if key == "teacher" and _is_wrapped(document, "student"):
            warnings.warn(f"{file}: the weights of the teacher are used, not those of the student", stacklevel=2)
        document = document[key]
    if not isinstance(document, Mapping) or not document:
        raise CheckpointError(f"{file} holds {type(document).__name__}; expected a state dict: names and tensors")
    if invalid := [str(key) for key, value in document.items() if not isinstance(value, torch.Tensor)]:
        raise CheckpointError(
            f"{file} holds {', '.join(invalid[:5])}, which are no tensors; expected a state dict, bare or under "
            f"{', '.join(STATE_DICT_KEYS)}"
        )
    return dict(document)


def _is_wrapped(document: Any, key: str) -> bool:
    """True if the key holds tensors or another wrapper, not the options of a network."""
    import torch

    inner = document.get(key) if isinstance(document, Mapping) else None
    return isinstance(inner, Mapping) and any(isinstance(value, Mapping | torch.Tensor) for value in inner.values())


def _strip_prefixes(tensors: dict[str, Any]) -> dict[str, Any]:
    """Tensors without the prefixes that all their names share, in any order and depth."""
    tensors = {name: tensor for name, tensor in tensors.items() if name != EMA_COUNTER}
    while prefix := next((p for p in NAME_PREFIXES if tensors and all(name.startswith(p) for name in tensors)), None):
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    bare = tensors
    while len({name.partition(".")[0] for name in bare}) == 1 and all("." in name for name in bare):
        bare = {name.partition(".")[2]: tensor for name, tensor in bare.items()}  # the attribute of a training module
    return bare if has_key_map(bare) else tensors


def warn_if_not_finite(tensors: "Mapping[str, Tensor]", origin: str) -> None:
    """Warn about NaN or infinite weights: every output of such a network is NaN."""
    if names := [name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())]:
        warnings.warn(f"{origin}: NaN or infinite values in {', '.join(names[:5])}", stacklevel=2)
