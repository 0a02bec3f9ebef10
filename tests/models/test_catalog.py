"""Catalog: shipped checkpoints, servable ones in the hub's cache, and architectures with their costs."""

from pathlib import Path

import pytest

from tessella.models.catalog import list_models
from tessella.models.checkpoints import hub
from tessella.models.checkpoints.sources import shipped
from tessella.models.variants import VARIANTS

from ..support.references import timm_network, write_timm


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cache with two repositories: a ViT, and a damaged one."""
    served = write_timm(timm_network("vit_tiny_patch16_224", depth=1, img_size=80), tmp_path / "served")
    other = tmp_path / "other"
    other.mkdir()
    (other / "model.safetensors").write_text("an empty promise")
    monkeypatch.setattr(hub, "cached", lambda: iter([("me/other", other), ("me/vit@v1", served)]))


@pytest.mark.usefixtures("cached")
def test_the_catalog_lists_every_kind() -> None:
    names = {kind: [entry.name for entry in list_models() if entry.kind == kind] for kind in ("shipped", "cached")}
    assert names == {"shipped": shipped(), "cached": ["me/vit@v1"]}
    architectures = {entry.name: entry for entry in list_models() if entry.kind == "architecture"}
    assert architectures.keys() == VARIANTS.keys()
    tnt = architectures["tnt_s_patch16_224"]
    assert (tnt.family, tnt.image_size, tnt.num_classes) == ("TNT", 224, 1000)
    assert (round(tnt.parameters / 1e6, 2), round(tnt.gmacs, 2)) == (23.77, 5.25)
