"""Views through a method become one file: every view its rows, one below the other."""

from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.figure import Figure, SubFigure

from . import rows
from .figure import GREY, figure, save, styled
from .rows import Row
from .subject import View

WIDTH = 12.0
HEADING, NOTE = 0.4, 0.25
METHODS: dict[str, Callable[[View, int | None], list[Row]]] = {
    "sheet": rows.sheet,
    "attention": rows.attention,
    "rollout": rows.rollout,
    "distance": rows.distance,
    "features": rows.features,
    "patches": rows.patches,
}

_MAPS = "Each map runs from its least (dark) to its greatest value (bright). ×: in units of the average patch."
NOTES = {
    **dict.fromkeys(("sheet", "attention", "rollout"), _MAPS),
    "features": "The channels that vary most over the image, each from its least (dark) to its greatest (bright).",
}


def draw(views: Sequence[View], method: str, layer: int | None, path: Path) -> None:
    """One picture of all views.

    Args:
        layer: from 1; all where None, as far as the method tells layers apart.

    Raises:
        ValueError: a view has no such layer.
    """
    for view in views:
        view.subject.check_layer(layer)
    with styled():
        content = [METHODS[method](view, layer) for view in views]
        heights = [HEADING + NOTE * (method in NOTES) + sum(row.height for row in some) for some in content]
        drawn = figure(WIDTH, sum(heights))
        parts = drawn.subfigures(len(views), 1, height_ratios=heights, squeeze=False)[:, 0]
        for view, some, part in zip(views, content, parts, strict=True):
            _fill(part, view.heading, some, NOTES.get(method, ""))
        save(drawn, path)


def _fill(part: SubFigure | Figure, heading: str, some: Sequence[Row], note: str) -> None:
    part.suptitle(heading, fontsize=11, fontweight="bold")
    heights = [row.height for row in some]
    heights[-1] += NOTE * bool(note)
    strips = part.subfigures(len(some), 1, height_ratios=heights, squeeze=False)[:, 0]
    for row, strip in zip(some, strips, strict=True):
        axes = strip.subplots(1, len(row.panels), width_ratios=row.widths[: len(row.panels)], squeeze=False)[0]
        for panel, one in zip(row.panels, axes, strict=True):
            panel(one)
    strips[-1].supxlabel(note, fontsize=8, color=GREY)
