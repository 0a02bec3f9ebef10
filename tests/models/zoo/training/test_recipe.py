"""Recipes: those of the shipped checkpoints' records, at the network's input size."""

import json
from dataclasses import asdict

import pytest

from tessella.models.checkpoints.sources import ZOO
from tessella.models.zoo.training.recipe import RECIPES


@pytest.mark.parametrize("name", RECIPES)
def test_the_shipped_checkpoint_was_trained_by_its_recipe(name: str) -> None:
    recorded = json.loads((ZOO / f"{name}.json").read_text())["recipe"]
    assert json.loads(json.dumps(asdict(RECIPES[name]))) == recorded


@pytest.mark.parametrize("name", RECIPES)
def test_preprocessing_keeps_the_whole_image(name: str) -> None:
    recipe = RECIPES[name]
    assert (recipe.preprocessing.size, recipe.preprocessing.resize) == (recipe.config.image_size,) * 2
