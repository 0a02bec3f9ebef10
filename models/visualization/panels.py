"""One panel each: an image, its patches, a map over it, channels, distances. Knows axes, not what they stand beside."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from .figure import BLUE, GREEN, GREY, MAP, VERMILLION

Floats = NDArray[np.float32]


def image(axes: Axes, pixels: NDArray[np.uint8], title: str) -> None:
    axes.imshow(pixels, interpolation="nearest")
    _bare(axes, title)


def patches(axes: Axes, pixels: NDArray[np.uint8], patch: int, word: int | None) -> None:
    """The grid that the image is cut along; of a TNT, its words too, in thinner lines."""
    side = len(pixels)
    image(
        axes,
        pixels,
        f"{side // patch}×{side // patch} patches of {patch} px" + (f",\nwords of {word} px" if word else ""),
    )
    for spacing, width in ((word, 0.3), (patch, 0.9)):
        for place in range(0, side + 1, spacing) if spacing else ():
            axes.axhline(place - 0.5, color="white", linewidth=width)
            axes.axvline(place - 0.5, color="white", linewidth=width)


def heat(axes: Axes, pixels: NDArray[np.uint8], shares: Floats, title: str) -> None:
    """A map (g, g) over the grey image, from its least to its greatest value; the title says how unequal it is."""
    side = len(pixels)
    axes.imshow(pixels.mean(axis=2), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.imshow(shares, cmap=MAP, alpha=0.65, extent=(-0.5, side - 0.5, side - 0.5, -0.5), interpolation="nearest")
    _bare(axes, f"{title}\n{times(shares)}")


def times(shares: Floats) -> str:
    """The greatest share in units of their mean: `up to 3.2×` the average patch."""
    return f"up to {shares.max() / max(float(shares.mean()), 1e-30):.1f}×"


def channel(axes: Axes, values: Floats, title: str) -> None:
    """One feature map (g, g), from its least to its greatest value."""
    axes.imshow(values, cmap=MAP, interpolation="nearest")
    _bare(axes, title)


def distances(axes: Axes, pixels: Floats, uniform: float, reaches: Sequence[float], inner: Floats | None) -> None:
    """Mean attention distance, (L, H) in pixels, beside what a ResNet can reach and what looking everywhere gives."""
    layers = np.arange(1, len(pixels) + 1)
    _dots(axes, layers, pixels, BLUE, "o", "one head")
    if inner is not None:
        _dots(axes, layers, inner, GREEN, "s", "one inner head, within its patch")
    axes.axhline(uniform, color=GREY, linestyle=":", linewidth=1.2, label="looking everywhere alike")
    axes.plot(
        layers[: len(reaches)],
        reaches,
        color=VERMILLION,
        marker="x",
        markersize=4,
        linewidth=1.2,
        label="ResNet-50: farthest it can see (half its receptive field)",
    )
    axes.set(xlabel="layer (ResNet-50: block)", ylabel="mean attention distance (px)", title="How far heads look")
    axes.set_ylim(0, 1.45 * max(uniform, float(pixels.max())))
    axes.set_xticks(layers[:: max(1, len(layers) // 12)])
    axes.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=2)


def blank(axes: Axes) -> None:
    axes.set_axis_off()


def _dots(axes: Axes, layers: NDArray[np.int64], values: Floats, colour: str, marker: str, label: str) -> None:
    places = np.repeat(layers, values.shape[1])
    axes.scatter(places, values.ravel(), s=16, color=colour, marker=marker, alpha=0.75, linewidths=0, label=label)


def _bare(axes: Axes, title: str) -> None:
    axes.set_title(title)
    axes.set_xticks([])
    axes.set_yticks([])
    for edge in axes.spines.values():
        edge.set_visible(False)
