"""Results: softmax, top-k predictions, and the overlay of an attention map over its image."""

import io

import numpy as np
import pytest
from PIL import Image

from tessella.server.engine.results import (
    MIN_SIDE,
    Classification,
    Explanation,
    Output,
    ScoreFunction,
    apply_colormap,
    overlay,
    top_predictions,
)
from tessella.server.engine.tasks import Task


def test_colormap_grows_lighter_from_minimum_to_maximum() -> None:
    colours = apply_colormap(np.linspace(3, 7, 50, dtype=np.float32)[None])[0]
    lightness = colours @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(lightness) > 0).all()
    assert colours[0].tolist() == [0x44, 0x01, 0x54]
    assert colours[-1].tolist() == [0xFD, 0xE7, 0x25]


def test_constant_map_has_a_single_colour() -> None:
    assert len(np.unique(apply_colormap(np.full((3, 3), 0.1, np.float32)).reshape(-1, 3), axis=0)) == 1


def test_brightest_patch_has_the_highest_weight() -> None:
    weights = np.zeros((3, 3), np.float32)
    weights[0, 2] = 1
    picture = np.asarray(Image.open(io.BytesIO(overlay(np.full((24, 24, 3), 128, np.uint8), weights))).convert("L"))
    assert picture.shape == (240, 240)
    assert (picture[:80, 160:] == picture.max()).all()
    assert (picture[80:] == picture.min()).all()


def test_image_shows_through_and_a_large_one_keeps_its_size() -> None:
    pixels = np.zeros((MIN_SIDE + 8, MIN_SIDE + 8, 3), np.uint8)
    pixels[:, :100] = 255
    picture = np.asarray(Image.open(io.BytesIO(overlay(pixels, np.ones((4, 4), np.float32)))).convert("L")).astype(int)
    assert picture.shape == (MIN_SIDE + 8, MIN_SIDE + 8)
    assert (picture[:, :100] > picture[:, 100:].max()).all()


def test_overlay_shows_the_last_layer() -> None:
    values = np.random.default_rng(0).random((3, 4, 4), np.float32)
    pixels = np.zeros((MIN_SIDE, MIN_SIDE, 3), np.uint8)
    explanation = Explanation.render(Task.ROLLOUT, pixels, values)
    assert explanation.overlay == overlay(pixels, values[2])
    assert explanation.overlay not in (overlay(pixels, values[0]), overlay(pixels, values[2].T))


LABELS = ("cat", "dog", "bird")


def test_predictions_are_sorted_probabilities() -> None:
    first, second = top_predictions(np.array([1000, 1001, -1000], np.float32), LABELS, 2)
    assert (first.label, first.index, second.label) == ("dog", 1, "cat")
    assert first.score == pytest.approx(np.e / (1 + np.e))
    assert first.score + second.score == pytest.approx(1)
    assert len(top_predictions(np.zeros(3, np.float32), LABELS, 9)) == 3


@pytest.mark.parametrize(("function", "scores"), [("none", [2, 0, -2]), ("sigmoid", [0.880797, 0.5, 0.119203])])
def test_other_score_functions(function: ScoreFunction, scores: list[float]) -> None:
    predictions = top_predictions(np.array([2, 0, -2], np.float32), LABELS, 3, function)
    assert [prediction.score for prediction in predictions] == pytest.approx(scores, abs=1e-6)


def test_classification_keeps_the_durations_of_its_output() -> None:
    output = Output(
        values=np.array([0, 3, 0], np.float32),
        batch_size=4,
        decode_seconds=1,
        input_seconds=2,
        queue_seconds=3,
        inference_seconds=4,
    )
    result = Classification.from_output(output, LABELS, 1, "softmax")
    assert (result.predictions[0].label, result.batch_size, result.output_seconds > 0) == ("dog", 4, True)
    assert list(result.stages.items())[:4] == [("decode", 1), ("input", 2), ("queue", 3), ("inference", 4)]
