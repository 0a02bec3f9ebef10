"""Position tables of a ViT as arrays, for folding and for the network's fixed one. No torch."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config import ViTConfig


def position_table(config: ViTConfig, weights: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
    """Position table (tokens, D) that `PositionEmbedding` adds, prefix tokens first; zero for those without a row.

    Args:
        weights: state dict of the network.

    Raises:
        KeyError: the state dict lacks a weight of the position embedding.
    """
    rows = _rows(config, weights).astype(np.float64)
    return np.pad(rows, ((config.tokens - len(rows), 0), (0, 0)))


def _rows(config: ViTConfig, weights: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    match config.position:
        case "learned":
            return weights["position_embedding.weight"]
        case "factorised":
            prefix, rows, columns = (weights[f"position_embedding.{name}"] for name in ("prefix", "row", "column"))
            patches = np.concatenate([rows.repeat(len(columns), axis=0), np.tile(columns, (len(rows), 1))], axis=1)
            return np.concatenate([prefix, patches])
        case "sincos":
            return sincos_table(config.grid, config.dim)
        case "none":
            return np.zeros((0, config.dim))


def sincos_table(grid: int, dim: int, temperature: float = 10_000.0) -> NDArray[np.float32]:
    """Fixed 2-D position table, (grid², dim), row-major: a quarter each of sin and cos of the column, then of the row.

    Source: MoCo v3 (arXiv 2104.02057) and "Better plain ViT baselines" (arXiv 2205.01580).

    Raises:
        ValueError: `dim` is not divisible by 4.
    """
    if dim % 4:
        raise ValueError(f"sin-cos positions need dim divisible by 4, not {dim}")
    frequency = temperature ** -(np.arange(dim // 4) / (dim // 4))
    row, column = np.divmod(np.arange(grid**2), grid)
    angles = [index[:, None] * frequency for index in (column, row)]
    return np.concatenate([wave(angle) for angle in angles for wave in (np.sin, np.cos)], axis=1).astype(np.float32)
