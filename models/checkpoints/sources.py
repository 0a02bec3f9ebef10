"""Where a model's files lie: a shipped name, a path or a hub id -> files. Reads no weights, knows no torch."""

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
    """What a user says of a checkpoint that does not say it itself; as `load_model`."""

    architecture: str
    image_size: int


@dataclass(frozen=True, slots=True)
class Source:
    """A checkpoint's files.

    `name`: under which it is served. `weights`: one file, or the shards of one checkpoint. `config`, `preprocessor`:
    the `config.json` and `preprocessor_config.json` beside them, where there are.
    """

    name: str
    weights: tuple[Path, ...]
    config: Document | None = None
    preprocessor: Document | None = None

    @property
    def location(self) -> str:
        """For messages."""
        return str(self.weights[0] if len(self.weights) == 1 else self.weights[0].parent)


def shipped() -> list[str]:
    """The checkpoints that come with the package, by name."""
    return sorted(path.stem for path in ZOO.glob("*.safetensors"))


def locate(source: str) -> Source:
    """The files of a shipped name, a file, a folder, a hub id (`owner/name`, `owner/name@revision`), or `name=` one.

    A hub id's files are downloaded where the cache lacks them.

    Raises:
        ModelNotFoundError: nothing lies there.
        CheckpointError: what lies there cannot be read, or is not one checkpoint.
    """
    _, place = _split(source)
    return read_source(served_name(source), _path(place))


def read_source(name: str, path: Path) -> Source:
    """The files at a path, under a name. Raises as `locate`."""
    if path.is_dir():
        weights, folder = weight_files(path), path
    else:
        weights, folder = (path,), path.parent
    config, preprocessor = (read_json(folder / file) if (folder / file).is_file() else None for file in CONFIG_FILES)
    return Source(name, weights, config, preprocessor)


def onnx_file(source: str) -> Path | None:
    """The .onnx file that `file`, `folder` or `name=` and one of them names; None where it names something else.

    A folder names the one .onnx file in it, where no weights lie beside that.

    Raises:
        ModelNotFoundError: it ends in `.onnx` and is not there.
    """
    _, place = _split(source)
    path = Path(place).expanduser()
    try:
        if path.is_dir():
            files = list(path.glob(f"*{ONNX_SUFFIX}"))
            weights = any(file.suffix in SUFFIXES for file in path.iterdir())
            return files[0] if len(files) == 1 and not weights else None
    except OSError:  # `locate` says what is wrong with it
        return None
    if path.suffix != ONNX_SUFFIX:
        return None
    if not path.is_file():
        raise ModelNotFoundError(f"there is no file {place!r}")
    return path


def served_name(source: str) -> str:
    """The name clients use: the one in `name=source`, or the last part of the source without revision and suffix."""
    name, place = _split(source)
    last = place.rstrip("/").rsplit("/", 1)[-1].partition("@")[0]
    return name or (last[: -len(suffix)] if (suffix := Path(last).suffix) in (*SUFFIXES, ONNX_SUFFIX) else last)


def _split(source: str) -> tuple[str, str]:
    """`name=source` -> (name, source); without a name, or where the whole is a path: ("", source)."""
    name, separator, place = source.partition("=")
    if not separator or "/" in name or Path(source).exists():
        return "", source
    return name, place


def _path(place: str) -> Path:
    if place in shipped():
        return ZOO / f"{place}.safetensors"
    path = Path(place).expanduser()
    try:
        if path.exists():
            return path
    except OSError as error:
        raise CheckpointError(f"{place} cannot be read: {error.strerror}") from error
    identity = hub.parse(place)
    if identity is not None and path.suffix not in (*SUFFIXES, ONNX_SUFFIX):
        return hub.fetch(*identity)
    raise ModelNotFoundError(_absence(place, path))


def _absence(place: str, path: Path) -> str:
    if find_variant(place) is not None:
        return f"{place!r} is an architecture, not a checkpoint: give a file of that architecture, or a hub id"
    if path.suffix in (*SUFFIXES, ONNX_SUFFIX) or place.startswith(("/", ".", "~")):
        return f"there is no file or folder {place!r}"
    return (
        f"{place!r} is no file or folder here, no hub id (`owner/name`), and none of the models that come with "
        f"tessella ({', '.join(shipped()) or 'none are installed'})"
    )
