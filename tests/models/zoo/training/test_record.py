"""Records: the selection of the shipped seed, and the JSON document."""

import json
from dataclasses import replace
from typing import Any

from tessella.models.zoo.training.dataset import load_split
from tessella.models.zoo.training.recipe import RECIPES
from tessella.models.zoo.training.record import Outcome, best, dumps, record

FIRST = Outcome(seed=0, validation=0.9, inverted=0.9, pen=0.8, paper=0.8, test=0.99, steps=5, cpu_seconds=1)
SECOND = replace(FIRST, seed=1, paper=0.9, test=0.95)


def test_the_best_seed_is_selected_without_the_test_set() -> None:
    assert best([FIRST, SECOND]).seed == 1
    assert best([replace(FIRST, validation=1.0, test=0.0), replace(SECOND, validation=0.8)]).seed == 0


def test_the_record_states_data_seeds_and_mean() -> None:
    split = load_split()
    document = record("digits-vit", RECIPES["digits-vit"], split, [FIRST, SECOND], [[1]])
    assert (document["shipped_seed"], document["test_accuracy_mean"]) == (1, 0.97)
    assert document["data"]["images"] == {"train": 1077, "validation": 360, "test": 360}
    assert document["data"]["sha256"]["test"] == split.test.digest()
    assert [seed["paper"] for seed in document["seeds"]] == [0.8, 0.9]


def test_dumps_is_json_with_one_line_per_inner_entry() -> None:
    document: dict[str, Any] = {"name": "n", "seeds": [{"seed": 0}, {"seed": 1}], "data": {"a": [1, 2]}}
    text = dumps(document)
    assert json.loads(text) == document
    assert text.splitlines()[2:5] == ['  "seeds": [', '    {"seed": 0},', '    {"seed": 1}']
