"""Rows of panels: one panel per layer or head, wrapped behind the image, and the channels with the largest variance."""

import numpy as np
from matplotlib.figure import Figure

from tessella.models.visualization import panels
from tessella.models.visualization.rows import COLUMNS, Panel, attention, features, top_channels

from ...support.views import noise_views


def test_attention_has_a_panel_per_layer_or_head() -> None:
    vit, tnt = noise_views()
    (row,) = attention(vit, None)
    assert [panel is panels.blank for panel in row.panels] == [False] * (1 + 4) + [True] * 2
    (row,) = attention(vit, 2)
    assert [panel is panels.blank for panel in row.panels] == [False] * (1 + 3) + [True] * 3
    assert len(attention(tnt, None)) == 2
    assert {len(row.panels) for row in attention(tnt, None)} == {COLUMNS}


def test_features_are_of_the_first_middle_and_last_layer() -> None:
    vit, tnt = noise_views()
    titles = [title_of(row.panels[0]) for row in features(vit, None)]
    assert titles == ["layer 1, patches", "layer 2, patches", "layer 4, patches"]
    assert [title_of(row.panels[0]) for row in features(tnt, 3)] == ["layer 3, patches", "layer 3, inner tokens"]


def title_of(panel: Panel) -> str:
    axes = Figure().subplots()
    panel(axes)
    return str(axes.get_title())


def test_channels_with_the_largest_variance_come_first() -> None:
    maps = np.stack([np.full((2, 2), 9.0), np.eye(2), 3 * np.eye(2)]).astype(np.float32)
    assert top_channels(maps, 2) == [2, 1]
