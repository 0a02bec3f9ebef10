"""Model specs (name, version, source) parsed from the settings. Knows no engine."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from ..models.checkpoints.sources import served_name
from .errors import BadRequest

DEFAULT_ALIAS = "default"
_LONGEST_NAME = 200
_VERSIONED = re.compile(r"(?P<name>.+):(?P<version>[1-9]\d{0,8})", re.DOTALL)


@dataclass(frozen=True, slots=True, order=True)
class ModelSpec:
    """A model to be served. `source`: as of `--model`."""

    name: str
    version: int
    source: str

    def __str__(self) -> str:
        return f"{self.name}:{self.version}"

    @property
    def key(self) -> tuple[str, int]:
        """Name and version: one model at a time is served under them."""
        return self.name, self.version

    def numbered(self, number: int | None) -> "NumberedSpec":
        return NumberedSpec(number, self.name, self.version, self.source)


class NumberedSpec(NamedTuple):
    """A model spec as the processes of one service send it: `number` is used once, and None while it is unloaded."""

    number: int | None
    name: str
    version: int
    source: str

    @property
    def spec(self) -> ModelSpec:
        return ModelSpec(self.name, self.version, self.source)


class Version(BaseModel):
    """One version of a model in `tessella.toml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Annotated[str, Field(min_length=1)]
    version: Annotated[int, Field(ge=1, lt=10**9)] = 1


def _as_versions(value: Any) -> Any:
    """A source, a table, or several tables, one for each version."""
    if isinstance(value, str):
        return ({"source": value},)
    if isinstance(value, Mapping):
        return (value,)
    return (
        tuple({"source": one} if isinstance(one, str) else one for one in value) if isinstance(value, list) else value
    )


Versions = Annotated[tuple[Version, ...], Field(min_length=1), BeforeValidator(_as_versions)]


def parse_model_specs(
    specifications: Sequence[str], models: Mapping[str, Sequence[Version]], aliases: Mapping[str, str]
) -> list[ModelSpec]:
    """What is to be served, in order.

    Args:
        specifications: as `--model` has them: each is version 1 of a model.
        models: served name -> its versions.
        aliases: further name -> the served name, or name:version, that it stands for.

    Raises:
        ValueError: two models would be served under one name and version, or an alias is a model's name or stands for
            nothing.
    """
    found: dict[tuple[str, int], ModelSpec] = {}
    for specification in specifications:
        name = served_name(specification)
        if (name, 1) in found:
            raise ValueError(f"two models would be served as {name!r}; name one: --model other={specification}")
        found[name, 1] = ModelSpec(name, 1, specification)
    for name, versions in models.items():
        for version in versions:
            if (name, version.version) in found:
                raise ValueError(f"two models would be served as version {version.version} of {name!r}")
            found[name, version.version] = ModelSpec(name, version.version, version.source)
    _check_aliases(aliases, found)
    return list(found.values())


def _check_aliases(aliases: Mapping[str, str], found: Mapping[tuple[str, int], ModelSpec]) -> None:
    names = {name for name, _ in found}
    for alias, target in aliases.items():
        if alias in names:
            raise ValueError(f"{alias!r} is the name of a model and cannot be an alias as well")
        if target not in names and split_version(target) not in found:
            raise ValueError(
                f"the alias {alias!r} stands for {target!r}, which is no model: {', '.join(sorted(names))}"
            )


def validate_name(name: str) -> None:
    """Raises BadRequest where a client's name for a model, or for an alias, cannot be one."""
    if not (name.strip() and name.isprintable() and len(name) <= _LONGEST_NAME):
        raise BadRequest("a model's name is 1 to 200 printable characters")


def split_version(asked: str) -> tuple[str, int | None]:
    """`cats:2` -> ("cats", 2); `cats` -> ("cats", None)."""
    match = _VERSIONED.fullmatch(asked)
    return (match["name"], int(match["version"])) if match else (asked, None)
