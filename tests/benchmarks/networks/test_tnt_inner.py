"""TNT inner-path benchmark: memory traffic of each form, and a document whose forms compute the same."""

import pytest

from tessella.benchmarks.networks import tnt_inner
from tessella.models.config import TNTConfig
from tessella.models.variants import VARIANTS

SMALL = TNTConfig(image_size=32, depth=2, dim=48, heads=3, mlp_dim=96)


def test_memory_traffic_falls_from_form_to_form() -> None:
    config = VARIANTS["tnt_s_patch16_224"]
    assert isinstance(config, TNTConfig)
    eager, compiled, block, ahead = (tnt_inner.megabytes(config, form, 2) for form in tnt_inner.FORMS)
    assert eager == pytest.approx(107, rel=0.05)
    assert eager > compiled > 10 * block > 20 * ahead
    assert ahead == pytest.approx(14 * 196 * 384 * 2 / 1e6)


def test_an_unknown_form_is_named() -> None:
    with pytest.raises(ValueError, match="'steam' is not one of eager, compiled, block, ahead"):
        tnt_inner.megabytes(SMALL, "steam", 2)


def test_the_document_holds_every_form(monkeypatch: pytest.MonkeyPatch) -> None:
    published, network = tnt_inner.networks("tnt_s_patch16_224")
    monkeypatch.setattr(tnt_inner, "networks", lambda _: (published, network))
    document = tnt_inner.measure("tnt_s_patch16_224", 1, seconds=0)
    assert [row["form"] for row in document["rows"]] == ["eager", "block", "ahead"]
    assert document["rows"][0]["ratio"] == 1
    assert list(document["networks"]) == ["tnt_s_patch16_224", tnt_inner.DEIT]
    assert all(figure["milliseconds"] > 0 for figure in document["networks"].values())
    assert tnt_inner.table(document).row_count == 3
    for parameter in published.get_submodule("blocks.5.norm_in").parameters():
        parameter.data += 1
    with pytest.raises(AssertionError, match="inner tokens differ from timm's"):
        tnt_inner.measure("tnt_s_patch16_224", 1, seconds=0)


def test_without_timm_the_published_blocks_are_tessellas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tnt_inner, "installed", lambda name: False)
    document = tnt_inner.measure("tnt_s_patch16_224", 1, seconds=0)
    assert document["published"] == "tessella"
    assert [row["form"] for row in document["rows"]] == ["eager", "block", "ahead"]
    with pytest.raises(ValueError, match="unknown architecture 'tnt_nano'"):
        tnt_inner.measure("tnt_nano", 1)


def test_only_a_tnt_has_inner_tokens() -> None:
    with pytest.raises(ValueError, match="vit_tiny_patch16_224 has no inner tokens"):
        tnt_inner.measure("vit_tiny_patch16_224", 1)
