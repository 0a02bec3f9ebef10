"""Model sources (shipped name, path or hub id) resolved to files; weights are not read. No torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from ..errors import CheckpointError, ModelNotFoundError
from ..types import Document
from ..variants import find_variant
from . import hub
from .files import CONFIG_FILES, ONNX_SUFFIX, SUFFIXES, read_json, weight_files

ZOO = Path(__file__).parents[1] / "zoo"


class Overrides(TypedDict, total=False):
    """Overrides by the user for settings that a checkpoint lacks or gives wrongly; as in `load_model`."""

    architecture: str
    image_size: int


@dataclass(frozen=True, slots=True)
class Source:
    """Files of a checkpoint.

    Attributes:
        name: served model name.
        weights: one file, or the shards of one checkpoint.
        config, preprocessor: contents of `config.json` and `preprocessor_config.json` beside them, None if absent.
    """

    name: str
    weights: tuple[Path, ...]
    config: Document | None = None
    preprocessor: Document | None = None

    @property
    def location(self) -> str:
        """Path of the weights, for messages."""
        return str(self.weights[0] if len(self.weights) == 1 else self.weights[0].parent)


def shipped() -> list[str]:
    """Names of the checkpoints that ship with the package."""
    return sorted(path.stem for path in ZOO.glob("*.safetensors"))


def locate(source: str) -> Source:
    """Files of a shipped name, a file, a folder or a hub id (`owner/name`, `owner/name@revision`).

    `name=` before it sets the served name. A hub id's files are downloaded unless the cache has them.

    Raises:
        ModelNotFoundError: there is no such file, folder or repository.
        CheckpointError: it cannot be read, or is not one checkpoint.
    """
    _, location = _split(source)
    return read_source(served_name(source), _path(location))


def read_source(name: str, path: Path) -> Source:
    """Files of a file or folder, to be served under a name. Raises as `locate`."""
    if path.is_dir():
        weights, folder = weight_files(path), path
    else:
        weights, folder = (path,), path.parent
    config, preprocessor = (read_json(folder / file) if (folder / file).is_file() else None for file in CONFIG_FILES)
    return Source(name, weights, config, preprocessor)


def onnx_file(source: str) -> Path | None:
    """ONNX file that a source (`file`, `folder`, or `name=` and either) names; None if it names something else.

    A folder names its only .onnx file, unless it holds weights as well.

    Raises:
        ModelNotFoundError: the source ends in `.onnx` and does not exist.
    """
    _, location = _split(source)
    path = Path(location).expanduser()
    try:
        if path.is_dir():
            files = list(path.glob(f"*{ONNX_SUFFIX}"))
            weights = any(file.name.endswith(SUFFIXES) for file in path.iterdir())
            return files[0] if len(files) == 1 and not weights else None
    except OSError:  # `locate` raises the error with its reason
        return None
    if path.suffix != ONNX_SUFFIX:
        return None
    if not path.is_file():
        raise ModelNotFoundError(f"there is no file {location!r}")
    return path


def served_name(source: str) -> str:
    """Model name for clients: the one in `name=source`, or the last part of the source without revision and suffix."""
    name, location = _split(source)
    last = location.rstrip("/").rsplit("/", 1)[-1].partition("@")[0]
    suffix = next((suffix for suffix in (*SUFFIXES, ONNX_SUFFIX) if last.endswith(suffix)), "")
    return name or last.removesuffix(suffix)


def _split(source: str) -> tuple[str, str]:
    """Name and source of `name=source`; the name is empty if there is none, or if the whole is an existing path."""
    name, separator, location = source.partition("=")
    if not separator or "/" in name or Path(source).exists():
        return "", source
    return name, location


def _path(location: str) -> Path:
    if location in shipped():
        return ZOO / f"{location}.safetensors"
    path = Path(location).expanduser()
    try:
        if path.exists():
            return path
    except OSError as error:
        raise CheckpointError(f"{location} cannot be read: {error.strerror}") from error
    hub_id = hub.parse(location)
    if hub_id is not None and not path.name.endswith((*SUFFIXES, ONNX_SUFFIX)):
        return hub.fetch(*hub_id)
    raise ModelNotFoundError(_not_found_message(location, path))


def _not_found_message(location: str, path: Path) -> str:
    if find_variant(location) is not None:
        return f"{location!r} is an architecture, not a checkpoint: give a checkpoint file or a hub id"
    if path.name.endswith((*SUFFIXES, ONNX_SUFFIX)) or location.startswith(("/", ".", "~")):
        return f"there is no file or folder {location!r}"
    return (
        f"{location!r} is no file or folder, no hub id (`owner/name`), and none of the models that ship with "
        f"tessella ({', '.join(shipped()) or 'none are installed'})"
    )
