"""Foreign checkpoints become ours: names, packing and layout translated, and nothing missing, extra or misshapen."""

import math
from collections import defaultdict
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from ..config import Config, ViTConfig
from ..errors import CheckpointError
from ..networks.build import build
from .key_maps import recognise

State = dict[str, Tensor]
TABLES = ("position_embedding.weight", "outer_position")


def translate(foreign: Mapping[str, Tensor], config: Config) -> State:
    """A foreign state dict under our names, for the network of `config`; position tables are resampled to its size.

    Args:
        foreign: timm's, Hugging Face's (old or new names), DeiT's, DINOv2's or the TNT authors' tensors; any dtype,
            which is kept.

    Raises:
        CheckpointError: not in a dialect known here, or tensors are missing, extra or misshapen; it names them.
    """
    dialect = recognise(foreign)
    parts: dict[str, dict[int, Tensor]] = defaultdict(dict)
    origins: dict[str, str] = {}
    for name, tensor in foreign.items():
        if (ours := dialect.rename(name)) is None:
            continue
        base, _, part = ours.replace("pooled_norm.", "norm.").partition("#")
        if int(part or 0) in parts[base]:
            raise CheckpointError(f"{name!r} and {origins[base]!r} are both {base!r}: the checkpoint holds it twice")
        parts[base][int(part or 0)] = _rows(base, tensor)
        origins[base] = name
    state = {name: _stack(name, part, origins) for name, part in parts.items()}
    return adapt(state, config, antialias=dialect.antialias, origins=origins)


def adapt(state: State, config: Config, *, antialias: bool = True, origins: Mapping[str, str] | None = None) -> State:
    """Tensors under our names for the network of `config`: its position table resampled to size, and all of it checked.

    Args:
        antialias: as `resample`.
        origins: our name -> the name that messages give; ours by default.

    Raises:
        CheckpointError: tensors are missing, extra or misshapen; it names them.
    """
    state = _prefixless(config) | state | _positions(state, config, antialias=antialias)
    _check(state, config, origins or {name: name for name in state})
    return state


def _rows(name: str, tensor: Tensor) -> Tensor:
    """One tensor in our layout: patches as (y, x, channel), words and tokens as rows."""
    if name == "patch_embedding.projection.weight" and tensor.ndim == 4:
        return tensor.permute(0, 2, 3, 1).flatten(1)
    if name == "inner_position" and tensor.ndim == 4:  # (1, d, rows, columns)
        return tensor[0].flatten(1).T
    if name in ("prefix", "class_token", "inner_position", *TABLES) and tensor.ndim == 3:  # (1, tokens, D)
        return tensor[0]
    return tensor


def _stack(name: str, parts: Mapping[int, Tensor], origins: Mapping[str, str]) -> Tensor:
    ordered = [parts[number] for number in sorted(parts)]
    try:
        return torch.cat(ordered) if len(ordered) > 1 else ordered[0].contiguous()
    except RuntimeError as error:
        raise CheckpointError(f"the parts of {name!r} ({origins[name]!r}, …) do not fit together: {error}") from error


def _prefixless(config: Config) -> State:
    """Our networks hold a prefix of no rows where there are no such tokens; others hold nothing."""
    without = isinstance(config, ViTConfig) and not config.prefix_tokens
    return {"prefix": torch.empty(0, config.dim)} if without else {}


def _positions(state: State, config: Config, *, antialias: bool) -> State:
    """What changes so that the position table has the resolution and the cover of `config`.

    A row for the class token alone, where registers follow (DINOv2), is added into that token.
    """
    name = TABLES[0] if isinstance(config, ViTConfig) else TABLES[1]
    if (table := state.get(name)) is None or table.ndim != 2:
        return {}
    changes: State = {}
    covered = 1
    if isinstance(config, ViTConfig):
        covered = config.prefix_tokens if config.position_prefix else 0
        if not covered and "prefix" in state and math.isqrt(len(table)) ** 2 != len(table):
            changes["prefix"] = torch.cat([state["prefix"][:1] + table[:1], state["prefix"][1:]])
            table = table[1:]
    changes[name] = torch.cat([table[:covered], resample(table[covered:], config.grid, antialias=antialias)])
    return changes


def resample(table: Tensor, grid: int, *, antialias: bool) -> Tensor:
    """A position table of a square grid, (g², D) row-major, at another resolution, (grid², D): bicubic.

    timm filters against aliasing and computes in float32; Hugging Face does not filter.
    """
    old = math.isqrt(len(table))
    if old == grid or old**2 != len(table):
        return table
    image = table.float().unflatten(0, (old, old)).permute(2, 0, 1)[None]  # (1, D, g, g)
    resized = F.interpolate(image, size=(grid, grid), mode="bicubic", antialias=antialias)
    return resized[0].permute(1, 2, 0).flatten(0, 1).to(table.dtype)


def _check(state: State, config: Config, origins: Mapping[str, str]) -> None:
    with torch.device("meta"):
        expected = {name: tuple(tensor.shape) for name, tensor in build(config).state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    missing = [_theirs(name, origins) for name in expected if name not in found]
    extra = [origins[name] for name in found if name not in expected]
    misshapen = [
        f"{origins[name]} {found[name]} instead of {shape}"
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    findings = {"missing": missing, "not part of this network": extra, "of the wrong shape": misshapen}
    if complaints := [f"{kind}: {_list(names)}" for kind, names in findings.items() if names]:
        raise CheckpointError("; ".join(complaints))


def _theirs(name: str, origins: Mapping[str, str]) -> str:
    """The checkpoint's own name for a tensor it lacks, learnt from the same tensor of another block; else ours."""
    head, _, rest = name.partition(".")
    number, _, leaf = rest.partition(".")
    for other, origin in origins.items():
        if head == "blocks" and other.startswith("blocks.") and other.split(".", 2)[2] == leaf:
            return origin.replace(f".{other.split('.')[1]}.", f".{number}.", 1)
    return name


def _list(names: list[str], limit: int = 5) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
