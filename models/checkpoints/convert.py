"""State dicts converted from published layouts to ours: names, packing and shapes, strictly checked."""

import math
from collections import defaultdict
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from ..config import Config, ViTConfig
from ..errors import CheckpointError
from ..networks.build import build
from .key_maps import find_key_map

State = dict[str, Tensor]
"""State dict under our names."""
POSITION_TABLES = ("position_embedding.weight", "outer_position")


def translate(foreign: Mapping[str, Tensor], config: Config) -> State:
    """State dict under our names for the network of `config`; position tables are resampled to its size.

    Args:
        foreign: tensors as timm, Hugging Face (old or new names), DeiT, DINOv2 or the TNT authors name them; any
            dtype, which is kept.

    Raises:
        CheckpointError: no key map matches, or tensors are missing, unexpected or of the wrong shape; it names them.
    """
    key_map = find_key_map(foreign)
    parts: dict[str, dict[int, Tensor]] = defaultdict(dict)
    origins: dict[str, str] = {}
    for name, tensor in foreign.items():
        if (ours := key_map.rename(name)) is None:
            continue
        base, _, part = ours.replace("pooled_norm.", "norm.").partition("#")
        if int(part or 0) in parts[base]:
            raise CheckpointError(f"duplicate tensor: {name!r} and {origins[base]!r} are both {base!r}")
        parts[base][int(part or 0)] = _rows(base, tensor)
        origins[base] = name
    state = {name: _stack(name, part, origins) for name, part in parts.items()}
    return adapt(state, config, antialias=key_map.antialias, origins=origins)


def adapt(state: State, config: Config, *, antialias: bool = True, origins: Mapping[str, str] | None = None) -> State:
    """State dict for the network of `config`: its position table resampled to size, all names and shapes checked.

    Args:
        state: tensors under our names.
        antialias: as `resample`.
        origins: our name -> the checkpoint's name, for messages; ours by default.

    Raises:
        CheckpointError: tensors are missing, unexpected or of the wrong shape; it names them.
    """
    state = _empty_prefix(config) | state | _resampled_positions(state, config, antialias=antialias)
    _check(state, config, origins or {name: name for name in state})
    return state


def _rows(name: str, tensor: Tensor) -> Tensor:
    """Tensor in our layout: patch pixels as (y, x, channel), tokens as rows."""
    if name == "patch_embedding.projection.weight" and tensor.ndim == 4:
        return tensor.permute(0, 2, 3, 1).flatten(1)
    if name == "inner_position" and tensor.ndim == 4:  # (1, d, rows, columns)
        return tensor[0].flatten(1).T
    if name in ("prefix", "class_token", "inner_position", *POSITION_TABLES) and tensor.ndim == 3:  # (1, tokens, D)
        return tensor[0]
    return tensor


def _stack(name: str, parts: Mapping[int, Tensor], origins: Mapping[str, str]) -> Tensor:
    ordered = [parts[number] for number in sorted(parts)]
    try:
        return torch.cat(ordered) if len(ordered) > 1 else ordered[0].contiguous()
    except RuntimeError as error:
        raise CheckpointError(f"the parts of {name!r} ({origins[name]!r}, …) cannot be stacked: {error}") from error


def _empty_prefix(config: Config) -> State:
    """Prefix of zero rows for a ViT without prefix tokens, which published checkpoints leave out."""
    without = isinstance(config, ViTConfig) and not config.prefix_tokens
    return {"prefix": torch.empty(0, config.dim)} if without else {}


def _resampled_positions(state: State, config: Config, *, antialias: bool) -> State:
    """Position table at the resolution of `config`, and the prefix where it changes too.

    Where only the class token has a row and registers follow it (DINOv2), the row is added to that token.
    """
    name = POSITION_TABLES[0] if isinstance(config, ViTConfig) else POSITION_TABLES[1]
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
    """Position table of a square grid, (g², D) row-major, resampled to (grid², D): bicubic, in float32.

    A table that has this size or is not square is returned as it is.

    Args:
        antialias: filter as timm does, and Hugging Face for DINOv2 with registers only.
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
    actual = {name: tuple(tensor.shape) for name, tensor in state.items()}
    missing = [_foreign_name(name, origins) for name in expected if name not in actual]
    unexpected = [origins[name] for name in actual if name not in expected]
    mismatched = [
        f"{origins[name]} {actual[name]} instead of {shape}"
        for name, shape in expected.items()
        if name in actual and actual[name] != shape
    ]
    problems = {"missing": missing, "not part of this network": unexpected, "of the wrong shape": mismatched}
    if messages := [f"{problem}: {_join(names)}" for problem, names in problems.items() if names]:
        raise CheckpointError("; ".join(messages))


def _foreign_name(name: str, origins: Mapping[str, str]) -> str:
    """Name of a missing tensor in the checkpoint's scheme, from the same tensor of another block; else ours."""
    head, _, rest = name.partition(".")
    number, _, leaf = rest.partition(".")
    for other, origin in origins.items():
        if head == "blocks" and other.startswith("blocks.") and other.split(".", 2)[2] == leaf:
            return origin.replace(f".{other.split('.')[1]}.", f".{number}.", 1)
    return name


def _join(names: list[str], limit: int = 5) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
