"""Records of training, written beside the shipped weights: recipe, seeds and accuracies; and the checkpoint file."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from ...checkpoints.description import HEADER_KEY, Description
from .dataset import LABELS, SPLIT_SEED, Split
from .recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Accuracies of one seed, 0 to 1.

    `inverted`: the validation digits as dark ink on light. `pen`, `paper`: synthetic digits, on clean canvases and
    photographed.
    """

    seed: int
    validation: float
    inverted: float
    pen: float
    paper: float
    test: float
    steps: int
    cpu_seconds: int

    @property
    def selection_score(self) -> float:
        """Mean accuracy of the validation sets, which selects the shipped seed; the test set is excluded."""
        return (self.validation + self.inverted + self.pen + self.paper) / 4


def best(outcomes: Sequence[Outcome]) -> Outcome:
    """Outcome of the seed to ship."""
    return max(outcomes, key=lambda outcome: outcome.selection_score)


def record(name: str, recipe: Recipe, split: Split, outcomes: Sequence[Outcome], confusion: Any) -> dict[str, Any]:
    """Record beside the weights. `confusion`: confusion matrix of the shipped seed on the test set."""
    parts = {part: getattr(split, part) for part in ("train", "validation", "test")}
    return {
        "name": name,
        "data": {
            "source": "scikit-learn load_digits",
            "split_seed": SPLIT_SEED,
            "images": {part: len(digits) for part, digits in parts.items()},
            "sha256": {part: digits.digest() for part, digits in parts.items()},
        },
        "test_accuracy_mean": round(sum(outcome.test for outcome in outcomes) / len(outcomes), 5),
        "shipped_seed": best(outcomes).seed,
        "seeds": [asdict(outcome) for outcome in outcomes],
        "test_confusion": confusion,
        "recipe": asdict(recipe),
    }


def dumps(document: dict[str, Any]) -> str:
    """JSON with one line per entry of the outer two levels."""
    lines = [f"  {json.dumps(key)}: {_value(value)}" for key, value in document.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        lines = [f"    {json.dumps(key)}: {json.dumps(inner)}" for key, inner in value.items()]
        return "{\n" + ",\n".join(lines) + "\n  }"
    if isinstance(value, list):
        return "[\n" + ",\n".join(f"    {json.dumps(inner)}" for inner in value) + "\n  ]"
    return json.dumps(value)


def save(folder: Path, network: nn.Module, recipe: Recipe, document: dict[str, Any]) -> None:
    """Writes `<name>.safetensors` with its description in the header, and `<name>.json`."""
    name = document["name"]
    shipped = next(outcome for outcome in document["seeds"] if outcome["seed"] == document["shipped_seed"])
    description = Description(
        name=name,
        config=recipe.config,
        preprocessing=recipe.preprocessing,
        labels=LABELS,
        notes={
            "data": "scikit-learn load_digits, 3/5 of it; drawn again by augmentation",
            "test_accuracy": shipped["test"],
            "test_accuracy_mean_of_seeds": document["test_accuracy_mean"],
            "record": f"{name}.json",
        },
    )
    weights = {key: tensor.contiguous() for key, tensor in network.state_dict().items()}
    save_file(weights, folder / f"{name}.safetensors", metadata={HEADER_KEY: description.to_json()})
    (folder / f"{name}.json").write_text(dumps(document))
