"""Rows of panels, one function for each method of visualization."""

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
TOP_CHANNELS = 6


@dataclass(frozen=True, slots=True)
class Row:
    """Panels side by side. `widths`: relative; `height`: in inches."""

    panels: Sequence[Panel]
    widths: Sequence[float] = field(default=(1.0,) * COLUMNS)
    height: float = 2.0


def attention(view: View, layer: int | None) -> list[Row]:
    """Attention of the head's input: each layer averaged over heads, or each head of one layer; of a TNT, inner too."""
    config, explanation = view.subject.network.config, view.explanation
    query = "all patches" if getattr(config, "pooling", "token") == "mean" else "the class token"
    rows = [*_maps(view, explanation.attention, layer, f"attention of\n{query}")]
    if explanation.inner:
        rows += _maps(view, explanation.inner.attention, layer, "attention of inner tokens\nwithin their patches")
    return rows


def rollout(view: View, layer: int | None) -> list[Row]:
    """Attention rollout of the class token, through all layers up to each."""
    flows = array(view.explanation.rollout)
    layers = [layer] if layer else range(1, view.depth + 1)
    maps = [_heat(view, flows[number - 1], f"layers 1 to {number}") for number in layers]
    return _wrap([_image(view, "attention rollout"), *maps])


def distance(view: View, layer: int | None) -> list[Row]:
    """Mean attention distances of all layers; `layer` is ignored."""
    return [Row((_image(view, view.title), _distances(view)), (1.0, 2.0), 3.8)]


def features(view: View, layer: int | None) -> list[Row]:
    """Feature maps of the first, middle and last layer, or of one; of a TNT, those of its inner tokens too."""
    explanation, inner = view.explanation, view.explanation.inner
    layers = [layer] if layer else sorted({1, (view.depth + 1) // 2, view.depth})
    kinds = [("patches", explanation.features)] + ([("inner tokens", inner.features)] if inner else [])
    return [
        Row([_image(view, f"layer {number}, {kind}"), *_channels(array(maps[number - 1]))])
        for kind, maps in kinds
        for number in layers
    ]


def patches(view: View, layer: int | None) -> list[Row]:
    """Preprocessed image, without and with its patch grid."""
    return [Row((_image(view, "preprocessed image"), _patches(view)), (1.0, 1.0), 3.4)]


def sheet(view: View, layer: int | None) -> list[Row]:
    """Sheet of all methods except the feature maps."""
    last = _heat(view, array(view.explanation.rollout)[-1], "attention rollout, all layers")
    summary = Row((_image(view, view.title), _patches(view), last, _distances(view)), (1.0, 1.0, 1.0, 2.2), 3.4)
    return [summary, *attention(view, layer)]


def top_channels(maps: Floats, count: int = TOP_CHANNELS) -> list[int]:
    """Channels of (D, g, g) with the largest variance over the image, in descending order."""
    return [int(channel) for channel in np.argsort(-maps.var(axis=(1, 2)))[:count]]


def array(tensor: Tensor) -> Floats:
    """float32 numpy array of a tensor."""
    values: Floats = tensor.float().numpy()
    return values


def _maps(view: View, maps: Tensor, layer: int | None, title: str) -> list[Row]:
    """Maps (L, H, g, g) of all layers, or of all heads of one layer."""
    values = array(maps)
    named = (
        {f"layer {layer}, head {number}": head for number, head in enumerate(values[layer - 1], 1)}
        if layer
        else {f"layer {number}": heads.mean(axis=0) for number, heads in enumerate(values, 1)}
    )
    return _wrap([_image(view, title), *(_heat(view, weights, name) for name, weights in named.items())])


def _wrap(all_panels: Sequence[Panel]) -> list[Row]:
    """Wrap panels into rows; the first column holds the first panel, and blanks below it."""
    first, *others = all_panels
    width = COLUMNS - 1
    parts = [others[start : start + width] for start in range(0, len(others), width)]
    blanks = [[panels.blank] * (width - len(part)) for part in parts]
    return [Row([first if index == 0 else panels.blank, *part, *blanks[index]]) for index, part in enumerate(parts)]


def _channels(maps: Floats) -> Iterator[Panel]:
    for index in top_channels(maps):
        yield lambda axes, index=index: panels.channel(axes, maps[index], f"channel {index + 1}")  # type: ignore[misc]


def _image(view: View, title: str) -> Panel:
    return lambda axes: panels.image(axes, view.pixels, title)


def _patches(view: View) -> Panel:
    config = view.subject.network.config
    sub_patch = config.sub_patch_size if isinstance(config, TNTConfig) else None
    return lambda axes: panels.patches(axes, view.pixels, config.patch_size, sub_patch)


def _heat(view: View, weights: Floats, title: str) -> Panel:
    return lambda axes: panels.heatmap(axes, view.pixels, weights, title)


def _distances(view: View) -> Panel:
    config, inner = view.subject.network.config, view.explanation.inner
    return lambda axes: panels.distances(
        axes,
        array(view.explanation.distance),
        uniform_distance(config.grid, config.patch_size),
        receptive_radii(view.depth),
        array(inner.distance) if inner else None,
    )
