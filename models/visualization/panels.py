"""Panels, each drawn on one axes: image, patch grid, heatmap, feature map, attention distances."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from .figure import BLUE, COLORMAP, GREEN, GREY, VERMILLION

Floats = NDArray[np.float32]


def image(axes: Axes, pixels: NDArray[np.uint8], title: str) -> None:
    """Image (S, S, 3)."""
    axes.imshow(pixels, interpolation="nearest")
    _strip_axes(axes, title)


def patches(axes: Axes, pixels: NDArray[np.uint8], patch: int, sub_patch: int | None) -> None:
    """Image with its patch grid; with `sub_patch`, the grid of sub-patches in thinner lines. Sizes in pixels."""
    side = len(pixels)
    title = f"{side // patch}×{side // patch} patches of {patch} px"
    image(axes, pixels, title + (f",\nsub-patches of {sub_patch} px" if sub_patch else ""))
    for spacing, width in ((sub_patch, 0.3), (patch, 0.9)):
        for position in range(0, side + 1, spacing) if spacing else ():
            axes.axhline(position - 0.5, color="white", linewidth=width)
            axes.axvline(position - 0.5, color="white", linewidth=width)


def heatmap(axes: Axes, pixels: NDArray[np.uint8], weights: Floats, title: str) -> None:
    """Heatmap (g, g) over the greyscale image, scaled to its own range; the title states its peak."""
    side = len(pixels)
    axes.imshow(pixels.mean(axis=2), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.imshow(
        weights, cmap=COLORMAP, alpha=0.65, extent=(-0.5, side - 0.5, side - 0.5, -0.5), interpolation="nearest"
    )
    _strip_axes(axes, f"{title}\n{peak(weights)}")


def peak(weights: Floats) -> str:
    """Peak weight in units of the mean over all patches: `up to 3.2×`."""
    return f"up to {weights.max() / max(float(weights.mean()), 1e-30):.1f}×"


def channel(axes: Axes, values: Floats, title: str) -> None:
    """Feature map (g, g) of one channel, scaled to its own range."""
    axes.imshow(values, cmap=COLORMAP, interpolation="nearest")
    _strip_axes(axes, title)


def distances(axes: Axes, pixels: Floats, uniform: float, radii: Sequence[float], inner: Floats | None) -> None:
    """Mean attention distances (L, H) in pixels, beside uniform attention and ResNet-50's receptive radii."""
    layers = np.arange(1, len(pixels) + 1)
    _dots(axes, layers, pixels, BLUE, "o", "one head")
    if inner is not None:
        _dots(axes, layers, inner, GREEN, "s", "one inner head, within its patch")
    axes.axhline(uniform, color=GREY, linestyle=":", linewidth=1.2, label="uniform attention")
    axes.plot(
        layers[: len(radii)],
        radii,
        color=VERMILLION,
        marker="x",
        markersize=4,
        linewidth=1.2,
        label="ResNet-50: half its receptive field",
    )
    axes.set(
        xlabel="layer (ResNet-50: block)", ylabel="mean attention distance (px)", title="Attention distance by head"
    )
    axes.set_ylim(0, 1.45 * max(uniform, float(pixels.max())))
    axes.set_xticks(layers[:: max(1, len(layers) // 12)])
    axes.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=2)


def blank(axes: Axes) -> None:
    """Empty panel."""
    axes.set_axis_off()


def _dots(axes: Axes, layers: NDArray[np.int64], values: Floats, colour: str, marker: str, label: str) -> None:
    x = np.repeat(layers, values.shape[1])
    axes.scatter(x, values.ravel(), s=16, color=colour, marker=marker, alpha=0.75, linewidths=0, label=label)


def _strip_axes(axes: Axes, title: str) -> None:
    axes.set_title(title)
    axes.set_xticks([])
    axes.set_yticks([])
    for edge in axes.spines.values():
        edge.set_visible(False)
