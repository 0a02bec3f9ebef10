"""The picture in an answer: the map lies where the patches are, and grows lighter with what they got."""

import io

import numpy as np
from PIL import Image

from tessella.server.engine.results import MIN_SIDE, Explanation, colour, overlay
from tessella.server.engine.tasks import Task


def test_colours_grow_lighter_from_the_least_to_the_greatest() -> None:
    colours = colour(np.linspace(3, 7, 50, dtype=np.float32)[None])[0]
    lightness = colours @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(lightness) > 0).all()
    assert colours[0].tolist() == [0x44, 0x01, 0x54]
    assert colours[-1].tolist() == [0xFD, 0xE7, 0x25]


def test_a_map_that_is_the_same_everywhere_is_one_colour() -> None:
    assert len(np.unique(colour(np.full((3, 3), 0.1, np.float32)).reshape(-1, 3), axis=0)) == 1


def test_the_brightest_place_is_where_the_most_attention_is() -> None:
    shares = np.zeros((3, 3), np.float32)
    shares[0, 2] = 1
    picture = np.asarray(Image.open(io.BytesIO(overlay(np.full((24, 24, 3), 128, np.uint8), shares))).convert("L"))
    assert picture.shape == (240, 240)
    assert (picture[:80, 160:] == picture.max()).all()
    assert (picture[80:] == picture.min()).all()


def test_the_image_shows_through_and_a_large_one_keeps_its_size() -> None:
    pixels = np.zeros((MIN_SIDE + 8, MIN_SIDE + 8, 3), np.uint8)
    pixels[:, :100] = 255
    picture = np.asarray(Image.open(io.BytesIO(overlay(pixels, np.ones((4, 4), np.float32)))).convert("L")).astype(int)
    assert picture.shape == (MIN_SIDE + 8, MIN_SIDE + 8)
    assert (picture[:, :100] > picture[:, 100:].max()).all()


def test_the_last_layer_is_drawn() -> None:
    values = np.random.default_rng(0).random((3, 4, 4), np.float32)
    pixels = np.zeros((MIN_SIDE, MIN_SIDE, 3), np.uint8)
    explanation = Explanation.of(Task.ROLLOUT, pixels, values)
    assert explanation.overlay == overlay(pixels, values[2])
    assert explanation.overlay not in (overlay(pixels, values[0]), overlay(pixels, values[2].T))
