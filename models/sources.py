"""Where a model's files lie: a shipped name, a file or a folder -> paths. Reads no weights, knows no torch."""

from dataclasses import dataclass
from pathlib import Path

from .errors import ModelNotFoundError

ZOO = Path(__file__).parent / "zoo"
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")


@dataclass(frozen=True, slots=True)
class Source:
    """A model's files. `name`: under which it is served. `weights`: one file."""

    name: str
    weights: Path


def shipped() -> list[str]:
    """The checkpoints that come with the package, by name."""
    return sorted(path.stem for path in ZOO.glob("*.safetensors"))


def locate(source: str) -> Source:
    """The files of `name`, `path`, or `name=path`.

    Raises:
        ModelNotFoundError: nothing lies there.
    """
    name, place = _split(source)
    path = ZOO / f"{place}.safetensors" if place in shipped() else Path(place)
    if not path.is_file():
        raise ModelNotFoundError(f"{place!r} is neither a file nor one of the shipped models ({', '.join(shipped())})")
    return Source(name or path.stem, path)


def served_name(source: str) -> str:
    """The name clients use: the one in `name=source`, or the last part of the source without revision and suffix."""
    name, place = _split(source)
    last = place.rstrip("/").rsplit("/", 1)[-1].partition("@")[0]
    return name or (last[: -len(suffix)] if (suffix := Path(last).suffix) in SUFFIXES else last)


def _split(source: str) -> tuple[str, str]:
    """`name=source` -> (name, source); without a name, or where the whole is a path: ("", source)."""
    name, separator, place = source.partition("=")
    if not separator or "/" in name or Path(source).exists():
        return "", source
    return name, place
