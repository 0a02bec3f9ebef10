"""Position ablation: every variant trains, only their tables differ, and `docs/explain.md` shows the record."""

import json
from pathlib import Path

import pytest
import torch

from tessella.models.config import TNTConfig, ViTConfig
from tessella.models.networks.build import build
from tessella.models.zoo.training import position_ablation as command
from tessella.models.zoo.training.dataset import Digits, Split, load_split
from tessella.models.zoo.training.position_ablation import Variant, variants
from tessella.models.zoo.training.position_similarity import cosines, similarities
from tessella.models.zoo.training.train import initialise

ROWS = list(variants(steps=1, batch=4))
PAGE = Path(__file__).parents[4] / "docs" / "explain.md"


def few(digits: Digits, count: int = 12) -> Digits:
    return Digits(digits.images[:count], digits.labels[:count], digits.indices[:count])


@pytest.mark.parametrize("variant", ROWS, ids=lambda variant: str(variant.name))
def test_a_variant_has_the_tables_of_its_name(variant: Variant) -> None:
    config = variant.recipe.config
    if isinstance(config, ViTConfig):
        texts = {"none": "none", "learned": "learned", "factorised": "2-D: row", "sincos": "sin-cos"}
        assert texts[config.position] in variant.positions
    else:
        assert (config.outer_position, config.inner_position) == (
            "outer" in variant.positions,
            "inner" in variant.positions,
        )
    network = build(config)
    initialise(network, positions=variant.start)
    maps = similarities(network)
    assert set(maps) == {
        *(["patches"] if "none" not in variant.positions and variant.positions != "inner" else []),
        *(["inner tokens"] if "inner" in variant.positions else []),
    }


def test_variants_of_a_family_differ_in_their_tables_only() -> None:
    recipes = [(variant.network, variant.recipe) for variant in ROWS]
    for network in ("ViT", "TNT"):
        some = [recipe for name, recipe in recipes if name == network]
        assert len({repr(one).replace(repr(one.config), "") for one in some}) == 1


def test_a_sincos_table_is_similar_between_neighbours_and_a_random_one_is_not() -> None:
    config = TNTConfig(image_size=24, patch_size=4, sub_patch_size=2, dim=96, inner_dim=16, depth=1, heads=3)
    maps = {}
    for start in ("small", "sincos"):
        torch.manual_seed(0)
        network = build(config)
        initialise(network, positions=start)
        maps[start] = torch.tensor(similarities(network)["patches"])
    middle = 2 * 6 + 2
    beside, far = maps["sincos"][middle, middle + 1], maps["sincos"][middle, -1]
    assert beside > far + 0.1
    assert maps["small"][middle].abs().sort().values[-2] < 0.5


def test_cosines() -> None:
    assert cosines(torch.tensor([[2.0, 0.0], [0.0, 3.0], [-1.0, 0.0]])).tolist() == [[1, 0, -1], [0, 1, 0], [-1, 0, 1]]


def test_the_command_trains_every_variant_and_writes_the_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    split = load_split()
    tiny = Split(few(split.train), few(split.validation), few(split.test))
    monkeypatch.setattr(command, "load_split", lambda: tiny)
    file, plot = tmp_path / "positions.json", tmp_path / "positions.svg"
    command.main(["--seeds", "2", "--steps", "1", "--batch", "2", "--output", str(file), "--plot", str(plot)])
    document = json.loads(file.read_text())
    assert [variant["positions"] for variant in document["variants"]] == [variant.positions for variant in ROWS]
    assert len(document["seeds"]) == 2 * len(ROWS)
    assert document["recipe"]["steps"] == 1
    assert command.render(document) in capsys.readouterr().out
    assert "TNT, outer and inner:" in plot.read_text()
    assert "cosine similarity" in plot.read_text()


def test_the_page_on_explanations_shows_the_record() -> None:
    document = json.loads(command.FILE.read_text())
    assert all(sum(one["variant"] == variant.name for one in document["seeds"]) == 3 for variant in ROWS)
    assert command.render(document) in PAGE.read_text()
    for variant in document["variants"]:
        name = f"{variant['network']}, {variant['positions']}"
        shares = [one["test"] for one in document["seeds"] if one["variant"] == name]
        assert variant["test"]["mean"] == pytest.approx(sum(shares) / 3, abs=1e-5)
