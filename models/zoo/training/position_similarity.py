"""Similarity of position embeddings: cosines between a table's rows, and their maps after figure 7 of the ViT paper."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ...networks.tnt import TNT
from ...networks.vit import ViT
from ...visualization.figure import DIVERGING_COLORMAP, figure, save, styled

COLUMNS = 4


def cosines(table: Tensor) -> Tensor:
    """Cosine similarities of a table's rows: (P, D) -> (P, P), -1 to 1; a row is one position's map."""
    rows = F.normalize(table, dim=1)
    return rows @ rows.T


@torch.no_grad()
def similarities(network: ViT | TNT) -> dict[str, list[list[float]]]:
    """Similarities within each position table of a network: `patches`, and `inner tokens` of a TNT."""
    if isinstance(network, ViT):
        config = network.config
        tables = {"patches": None if config.position == "none" else network.position_embedding.table()}
        return _rounded(tables, config.grid**2)
    return _rounded({"patches": network.outer_position}, network.config.grid**2) | _rounded(
        {"inner tokens": network.inner_position}, network.config.words
    )


def draw(tables: Mapping[str, Sequence[Sequence[float]]], path: Path) -> None:
    """Draw one panel per table, after figure 7 (centre) of the ViT paper. `tables`: cosines (P, P) by title."""
    rows = math.ceil(len(tables) / COLUMNS)
    with styled():
        page = figure(12.0, 3.3 * rows + 0.3)
        panels = page.subplots(rows, COLUMNS, squeeze=False).ravel()
        for axes in panels:
            axes.set_axis_off()
        image = None
        for axes, (title, table) in zip(panels, tables.items(), strict=False):
            maps = tiled(np.array(table))
            image = axes.imshow(maps, cmap=DIVERGING_COLORMAP, vmin=-1, vmax=1, interpolation="nearest")
            axes.set_title(textwrap.fill(title, 36), fontsize=8)
        if image is not None:
            page.colorbar(image, ax=panels.tolist(), label="cosine similarity of positions", shrink=0.6)
        save(page, path)


def tiled(cosines: NDArray[np.float64]) -> NDArray[np.float64]:
    """Tiled similarity maps: (P, P) -> one image with each position's map at that position, NaN between the maps."""
    side = math.isqrt(len(cosines))
    maps = cosines.reshape(side, side, side, side)  # (row, column, map's row, map's column)
    apart = np.pad(maps, ((0, 0), (0, 0), (0, 1), (0, 1)), constant_values=np.nan)
    return apart.transpose(0, 2, 1, 3).reshape(side * (side + 1), side * (side + 1))[:-1, :-1]


def _rounded(tables: dict[str, Tensor | None], positions: int) -> dict[str, list[list[float]]]:
    """Rounded similarities of the last `positions` rows of each table; rows before belong to prefix tokens."""
    return {
        name: [[round(value, 2) for value in row] for row in cosines(table[-positions:]).tolist()]
        for name, table in tables.items()
        if table is not None
    }
