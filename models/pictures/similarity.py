"""How alike the places of position tables are: for each place a map over all places, tiled as the places lie."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .style import DIVERGING, figure, save, styled

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
        for one, (title, cosines) in zip(axes, tables.items(), strict=False):
            shown = one.imshow(tiled(np.array(cosines)), cmap=DIVERGING, vmin=-1, vmax=1, interpolation="nearest")
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
