"""Training in small: the loss falls, the checkpoint loads, and bad arguments are named."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tessella.models.checkpoints.description import read_description
from tessella.models.networks.build import build_with_weights
from tessella.models.zoo.training import train as command
from tessella.models.zoo.training.augment import Augmentation
from tessella.models.zoo.training.dataset import Digits, Split, load_split
from tessella.models.zoo.training.recipe import RECIPES
from tessella.models.zoo.training.train import train

from ....support.training_set import few

PLAIN = Augmentation(plain=1.0, inverted=0.0)


def tiny() -> Split:
    """Split of the first few images of each part."""
    split = load_split()
    parts = (split.train, split.validation, split.test)
    return Split(*(Digits(part.images[:20], part.labels[:20], part.indices[:20]) for part in parts))


@pytest.mark.parametrize("name", RECIPES)
def test_a_few_steps_lower_the_loss(name: str) -> None:
    losses: list[float] = []
    recipe = replace(RECIPES[name], steps=60, batch=16, warmup=10, augmentation=PLAIN)
    train(recipe, few(12), 0, lambda step, loss: losses.append(loss))
    assert len(losses) == 60
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_training_repeats_under_a_seed() -> None:
    recipe = replace(RECIPES["digits-vit"], steps=2, batch=4)
    first, second, other = (train(recipe, few(), seed, lambda step, loss: None) for seed in (1, 1, 2))
    assert torch.equal(first.state_dict()["head.weight"], second.state_dict()["head.weight"])
    assert not torch.equal(first.state_dict()["head.weight"], other.state_dict()["head.weight"])


def test_the_command_writes_a_checkpoint_and_its_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "load_split", tiny)
    command.main(
        ["--network", "digits-vit", "--seeds", "5,6", "--steps", "1", "--threads", "1", "--output", str(tmp_path)]
    )
    assert "seed 6" in capsys.readouterr().out
    file = tmp_path / "digits-vit.safetensors"
    description, record = read_description(file), json.loads((tmp_path / "digits-vit.json").read_text())
    assert description is not None
    build_with_weights(description.config, load_file(file))
    assert description.labels == tuple("0123456789")
    assert [outcome["seed"] for outcome in record["seeds"]] == [5, 6]
    assert sum(map(sum, record["test_confusion"])) == 20


def test_invalid_seeds_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--seeds", "one,two"])
    assert "'one,two' is not a list of whole numbers such as 0,1,2" in capsys.readouterr().err
