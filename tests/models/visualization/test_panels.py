"""Panels: titles, grids and points on one axes."""

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tessella.models.visualization import panels

PIXELS = np.zeros((24, 24, 3), np.uint8)


@pytest.fixture
def axes() -> Axes:
    return Figure().subplots()


def test_the_patch_grid_has_a_line_at_every_edge(axes: Axes) -> None:
    panels.patches(axes, PIXELS, 8, None)
    assert axes.get_title() == "3×3 patches of 8 px"
    assert len(axes.lines) == 2 * 4


def test_sub_patches_add_a_finer_grid(axes: Axes) -> None:
    panels.patches(axes, PIXELS, 8, 2)
    assert axes.get_title() == "3×3 patches of 8 px,\nsub-patches of 2 px"
    assert len(axes.lines) == 2 * (4 + 13)


def test_the_heatmap_states_its_peak_over_the_mean(axes: Axes) -> None:
    weights = np.array([[1, 1], [1, 5]], np.float32)
    panels.heatmap(axes, PIXELS, weights, "layer 1")
    assert axes.get_title() == "layer 1\nup to 2.5×"
    assert panels.peak(np.zeros((2, 2), np.float32)) == "up to 0.0×"


def test_distances_have_a_point_per_head_and_their_references(axes: Axes) -> None:
    panels.distances(axes, np.arange(6, dtype=np.float32).reshape(2, 3), 10.0, [9.0, 13.0], None)
    (heads,) = axes.collections
    assert np.asarray(heads.get_offsets()).tolist() == [[1, 0], [1, 1], [1, 2], [2, 3], [2, 4], [2, 5]]
    uniform, resnet = axes.lines
    assert np.asarray(uniform.get_ydata()).tolist() == [10.0, 10.0]
    assert np.asarray(resnet.get_ydata()).tolist() == [9.0, 13.0]
