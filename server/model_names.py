"""Model specs (name, version, source) parsed from settings."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from ..models.checkpoints.sources import served_name
from .errors import BadRequest

DEFAULT_ALIAS = "default"
_MAX_NAME_LENGTH = 200
_VERSIONED = re.compile(r"(?P<name>.+):(?P<version>[1-9]\d{0,8})", re.DOTALL)


@dataclass(frozen=True, slots=True, order=True)
class ModelSpec:
    """Model to serve. `source`: as for `--model`."""

    name: str
    version: int
    source: str

    def __str__(self) -> str:
        return f"{self.name}:{self.version}"

    @property
    def key(self) -> tuple[str, int]:
        """Name and version, which identify a served model."""
        return self.name, self.version

    def numbered(self, number: int | None) -> "NumberedSpec":
        """The spec with a number, as processes exchange it."""
        return NumberedSpec(number, self.name, self.version, self.source)


class NumberedSpec(NamedTuple):
    """Model spec as processes exchange it. `number`: unique to one load of the model; None while it is unloaded."""

    number: int | None
    name: str
    version: int
    source: str

    @property
    def spec(self) -> ModelSpec:
        return ModelSpec(self.name, self.version, self.source)


class Version(BaseModel):
    """Version of a model in `tessella.toml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Annotated[str, Field(min_length=1)]
    version: Annotated[int, Field(ge=1, lt=10**9)] = 1


def _as_versions(value: Any) -> Any:
    """Normalise a source, a table or a list of both, one for each version, to tables."""
    if isinstance(value, str):
        return ({"source": value},)
    if isinstance(value, Mapping):
        return (value,)
    return (
        tuple({"source": one} if isinstance(one, str) else one for one in value) if isinstance(value, list) else value
    )


Versions = Annotated[tuple[Version, ...], Field(min_length=1), BeforeValidator(_as_versions)]


def parse_model_specs(
    sources: Sequence[str], models: Mapping[str, Sequence[Version]], aliases: Mapping[str, str]
) -> list[ModelSpec]:
    """Model specs of the settings `model` and `models`, in order.

    Args:
        sources: as for `--model`, each of them version 1 of a model.
        models: served name -> its versions.
        aliases: alias -> served name or name:version.

    Raises:
        ValueError: two models have the same name and version, an alias is also the name of a model, or its target does
            not exist.
    """
    specs: dict[tuple[str, int], ModelSpec] = {}
    for source in sources:
        name = served_name(source)
        if (name, 1) in specs:
            raise ValueError(f"two models have the name {name!r}; rename one: --model other={source}")
        specs[name, 1] = ModelSpec(name, 1, source)
    for name, versions in models.items():
        for version in versions:
            if (name, version.version) in specs:
                raise ValueError(f"version {version.version} of {name!r} is defined twice")
            specs[name, version.version] = ModelSpec(name, version.version, version.source)
    _validate_aliases(aliases, specs)
    return list(specs.values())


def _validate_aliases(aliases: Mapping[str, str], specs: Mapping[tuple[str, int], ModelSpec]) -> None:
    names = {name for name, _ in specs}
    for alias, target in aliases.items():
        if alias in names:
            raise ValueError(f"{alias!r} is the name of a model, and cannot be an alias as well")
        if target not in names and split_version(target) not in specs:
            raise ValueError(
                f"alias {alias!r} points to {target!r}, which is not a served model: {', '.join(sorted(names))}"
            )


def validate_name(name: str) -> None:
    """Raise BadRequest if a client's name for a model or an alias is not valid."""
    if not (name.strip() and name.isprintable() and len(name) <= _MAX_NAME_LENGTH):
        raise BadRequest(f"a model's name has 1 to {_MAX_NAME_LENGTH} printable characters")


def split_version(name: str) -> tuple[str, int | None]:
    """Name and version: `cats:2` -> ("cats", 2); `cats` -> ("cats", None)."""
    match = _VERSIONED.fullmatch(name)
    return (match["name"], int(match["version"])) if match else (name, None)
