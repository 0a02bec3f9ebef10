"""Page of all views of a method, one below the other, written to one file."""

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

_HEATMAP_NOTE = (
    "Each map is scaled from its minimum (dark) to its maximum (bright). ×: relative to the mean over patches."
)
NOTES = {
    **dict.fromkeys(("sheet", "attention", "rollout"), _HEATMAP_NOTE),
    "features": "The channels with the largest variance, each scaled from its minimum (dark) to its maximum (bright).",
}


def draw(views: Sequence[View], method: str, layer: int | None, path: Path) -> None:
    """Draw all views with a method and save the figure.

    Args:
        layer: counted from 1; None draws all. Ignored by methods without layers.

    Raises:
        ValueError: a view has no such layer.
    """
    for view in views:
        view.subject.check_layer(layer)
    with styled():
        sections = [METHODS[method](view, layer) for view in views]
        heights = [HEADING + NOTE * (method in NOTES) + sum(row.height for row in section) for section in sections]
        page = figure(WIDTH, sum(heights))
        subfigures = page.subfigures(len(views), 1, height_ratios=heights, squeeze=False)[:, 0]
        for view, section, subfigure in zip(views, sections, subfigures, strict=True):
            _draw_section(subfigure, view.heading, section, NOTES.get(method, ""))
        save(page, path)


def _draw_section(section: SubFigure | Figure, heading: str, section_rows: Sequence[Row], note: str) -> None:
    section.suptitle(heading, fontsize=11, fontweight="bold")
    heights = [row.height for row in section_rows]
    heights[-1] += NOTE * bool(note)
    strips = section.subfigures(len(section_rows), 1, height_ratios=heights, squeeze=False)[:, 0]
    for row, strip in zip(section_rows, strips, strict=True):
        axes = strip.subplots(1, len(row.panels), width_ratios=row.widths[: len(row.panels)], squeeze=False)[0]
        for panel, panel_axes in zip(row.panels, axes, strict=True):
            panel(panel_axes)
    strips[-1].supxlabel(note, fontsize=8, color=GREY)
