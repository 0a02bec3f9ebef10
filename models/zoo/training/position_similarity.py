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


def cosines(table: Tensor) -> Tensor:
    """(places, D) -> (places, places), -1 to 1; a place's row is one map over all places."""
    rows = F.normalize(table, dim=1)
    return rows @ rows.T


@torch.no_grad()
def similarities(network: ViT | TNT) -> dict[str, list[list[float]]]:
    """`patches`: between the places of patches; `words`: of a TNT's sub-patches. Only of tables that there are."""
    if isinstance(network, ViT):
        config = network.config
        tables = {"patches": None if config.position == "none" else network.position_embedding.table()}
        return _rounded(tables, config.grid**2)
    return _rounded({"patches": network.outer_position}, network.config.grid**2) | _rounded(
        {"words": network.inner_position}, network.config.words
    )


def _rounded(tables: dict[str, Tensor | None], places: int) -> dict[str, list[list[float]]]:
    """The last `places` rows of each table that is there; the others belong to prefix tokens."""
    return {
        name: [[round(value, 2) for value in row] for row in cosines(table[-places:]).tolist()]
        for name, table in tables.items()
        if table is not None
    }


COLUMNS = 4


def draw(tables: Mapping[str, Sequence[Sequence[float]]], path: Path) -> None:
    """One panel per table, after figure 7 (centre) of the ViT paper. `tables`: cosines (places, places) by title."""
    rows = math.ceil(len(tables) / COLUMNS)
    with styled():
        drawn = figure(12.0, 3.3 * rows + 0.3)
        axes = drawn.subplots(rows, COLUMNS, squeeze=False).ravel()
        for one in axes:
            one.set_axis_off()
        shown = None
        for one, (title, table) in zip(axes, tables.items(), strict=False):
            shown = one.imshow(
                tiled(np.array(table)), cmap=DIVERGING_COLORMAP, vmin=-1, vmax=1, interpolation="nearest"
            )
            one.set_title(textwrap.fill(title, 36), fontsize=8)
        if shown is not None:
            drawn.colorbar(shown, ax=axes.tolist(), label="cosine similarity of positions", shrink=0.6)
        save(drawn, path)


def tiled(cosines: NDArray[np.float64]) -> NDArray[np.float64]:
    """(places, places) -> one image: where a place lies, its map over all places; NaN between the maps."""
    side = math.isqrt(len(cosines))
    maps = cosines.reshape(side, side, side, side)  # (row, column, map's row, map's column)
    apart = np.pad(maps, ((0, 0), (0, 0), (0, 1), (0, 1)), constant_values=np.nan)
    return apart.transpose(0, 2, 1, 3).reshape(side * (side + 1), side * (side + 1))[:-1, :-1]
