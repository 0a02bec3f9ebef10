"""Rows of panels: what each method draws of one view. Knows no figure and no file."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from torch import Tensor

from ..config import TNTConfig
from ..explain.attention_maps import uniform_distance
from ..explain.receptive_field import receptive_radii
from . import panels
from .panels import Floats
from .subject import View

Panel = Callable[[Axes], None]
COLUMNS = 7
CHANNELS = 6


@dataclass(frozen=True, slots=True)
class Row:
    """Panels side by side; `widths` in shares, `height` in inches."""

    panels: Sequence[Panel]
    widths: Sequence[float] = field(default=(1.0,) * COLUMNS)
    height: float = 2.0


def attention(view: View, layer: int | None) -> list[Row]:
    """The class token's attention: each layer with heads averaged, or every head of one layer; of a TNT, words' too."""
    config, explanation = view.subject.network.config, view.explanation
    reader = "all patches" if getattr(config, "pooling", "token") == "mean" else "the class token"
    rows = [*_maps(view, explanation.attention, layer, f"attention of\n{reader}")]
    if explanation.inner:
        rows += _maps(view, explanation.inner.attention, layer, "attention of words\nwithin their patches")
    return rows


def rollout(view: View, layer: int | None) -> list[Row]:
    """What has arrived in the class token, through all layers up to each."""
    flows = array(view.explanation.rollout)
    chosen = [layer] if layer else range(1, view.depth + 1)
    maps = [_heat(view, flows[one - 1], f"layers 1 to {one}") for one in chosen]
    return _folded([_image(view, "attention rollout"), *maps])


def distance(view: View, layer: int | None) -> list[Row]:
    """How far heads look; all layers, whichever was asked for."""
    return [Row((_image(view, view.title), _distances(view)), (1.0, 2.0), 3.8)]


def features(view: View, layer: int | None) -> list[Row]:
    """The channels that vary most, of the first, the middle and the last layer, or of one; of a TNT, words' too."""
    explanation = view.explanation
    chosen = [layer] if layer else sorted({1, (view.depth + 1) // 2, view.depth})
    kinds = [("patches", explanation.features)] + ([("words", explanation.inner.features)] if explanation.inner else [])
    return [
        Row([_image(view, f"layer {one}, {what}"), *_channels(array(maps[one - 1]))])
        for what, maps in kinds
        for one in chosen
    ]


def patches(view: View, layer: int | None) -> list[Row]:
    """The image as the network sees it, and as it cuts it up."""
    return [Row((_image(view, "as the network sees it"), _patches(view)), (1.0, 1.0), 3.4)]


def sheet(view: View, layer: int | None) -> list[Row]:
    """All of it on one page; the feature maps have a page of their own."""
    last = _heat(view, array(view.explanation.rollout)[-1], "attention rollout, all layers")
    summary = Row((_image(view, view.title), _patches(view), last, _distances(view)), (1.0, 1.0, 1.0, 2.2), 3.4)
    return [summary, *attention(view, layer)]


def strongest(maps: Floats, count: int = CHANNELS) -> list[int]:
    """The channels of (D, g, g) that vary most over the image, the most first."""
    return [int(channel) for channel in np.argsort(-maps.var(axis=(1, 2)))[:count]]


def array(tensor: Tensor) -> Floats:
    values: Floats = tensor.float().numpy()
    return values


def _maps(view: View, maps: Tensor, layer: int | None, title: str) -> list[Row]:
    """(L, H, g, g): all layers, or all heads of one."""
    values = array(maps)
    named = (
        {f"layer {layer}, head {head + 1}": one for head, one in enumerate(values[layer - 1])}
        if layer
        else {f"layer {one + 1}": heads.mean(axis=0) for one, heads in enumerate(values)}
    )
    return _folded([_image(view, title), *(_heat(view, shares, name) for name, shares in named.items())])


def _folded(all_panels: Sequence[Panel]) -> list[Row]:
    """In rows of equally many; the first row's first panel has nothing below it but blanks."""
    first, *others = all_panels
    room = COLUMNS - 1
    parts = [others[start : start + room] for start in range(0, len(others), room)]
    blanks = [[panels.blank] * (room - len(part)) for part in parts]
    return [Row([first if place == 0 else panels.blank, *part, *blanks[place]]) for place, part in enumerate(parts)]


def _channels(maps: Floats) -> Iterator[Panel]:
    for one in strongest(maps):
        yield lambda axes, one=one: panels.channel(axes, maps[one], f"channel {one + 1}")  # type: ignore[misc]


def _image(view: View, title: str) -> Panel:
    return lambda axes: panels.image(axes, view.pixels, title)


def _patches(view: View) -> Panel:
    config = view.subject.network.config
    word = config.sub_patch_size if isinstance(config, TNTConfig) else None
    return lambda axes: panels.patches(axes, view.pixels, config.patch_size, word)


def _heat(view: View, shares: Floats, title: str) -> Panel:
    return lambda axes: panels.heat(axes, view.pixels, shares, title)


def _distances(view: View) -> Panel:
    config, inner = view.subject.network.config, view.explanation.inner
    return lambda axes: panels.distances(
        axes,
        array(view.explanation.distance),
        uniform_distance(config.grid, config.patch_size),
        receptive_radii(view.depth),
        array(inner.distance) if inner else None,
    )
