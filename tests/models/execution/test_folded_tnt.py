"""Folded TNT: timm's logits through the registry and the engine, with the inner blocks in one operator."""

import asyncio
import io
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from tessella.benchmarks import timm_import  # noqa: F401
from tessella.kernels import tnt_ops
from tessella.kernels.reference import normalise
from tessella.kernels.weights import InnerWeights
from tessella.models.checkpoints.description import HEADER_KEY, Description
from tessella.models.config import TNTConfig
from tessella.models.execution import folded_tnt
from tessella.models.networks.build import build
from tessella.models.preprocessing.preprocess import Preprocessing
from tessella.models.registry import load_model
from tessella.server.engine.engine import AsyncEngine

from ...support.references import distance, randomise, timm_network, write_timm

DIGITS = TNTConfig(
    image_size=24,
    patch_size=8,
    sub_patch_size=2,
    dim=96,
    depth=4,
    heads=3,
    mlp_dim=192,
    inner_dim=16,
    inner_heads=2,
    inner_mlp_dim=32,
    num_classes=10,
    sub_patch_embedding="linear",
)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Result shapes of the fused operator's calls."""
    seen = []
    run = tnt_ops.tnt_inner

    def spy(words: torch.Tensor, weights: InnerWeights, **keywords: Any) -> torch.Tensor:
        rows = run(words, weights, **keywords)
        seen.append(tuple(rows.shape))
        return rows

    monkeypatch.setattr(folded_tnt, "tnt_inner", spy)
    return seen


def folder_of(name: str, tmp_path: Path) -> tuple[Any, str]:
    network = timm_network(name, depth=3, num_classes=5)
    return network, str(write_timm(network, tmp_path / name))


@pytest.mark.parametrize(
    ("name", "row"),
    [("tnt_s_patch16_224", 384), ("tnt_s_legacy_patch16_224", 384), ("tnt_b_patch16_224", 640)],
)
def test_timms_logits_through_the_fused_operator(
    name: str, row: int, tmp_path: Path, calls: list[tuple[int, ...]]
) -> None:
    theirs, source = folder_of(name, tmp_path)
    model = load_model(source, backend="torch", dtype="float32")
    pixels = torch.randint(0, 256, (2, 224, 224, 3), dtype=torch.uint8)
    mean, std = torch.tensor(model.preprocessing.mean), torch.tensor(model.preprocessing.std)
    with torch.inference_mode():
        images = normalise(pixels, mean, std, torch.float32)
        assert distance(model.logits(pixels), theirs(images)) < 1e-4
        assert (
            distance(model.embeddings(pixels), theirs.forward_head(theirs.forward_features(images), pre_logits=True))
            < 1e-4
        )
    assert calls == [(4, 2 * 196, row)] * 2
    assert "folded" in model.choice


@pytest.mark.parametrize("batch", [1, 3])
def test_the_shipped_form(batch: int, tmp_path: Path, calls: list[tuple[int, ...]]) -> None:
    network = randomise(build(DIGITS))
    preprocessing = Preprocessing(size=24, resize=24)
    description = Description(name="d", config=DIGITS, preprocessing=preprocessing, labels=tuple("0123456789"))
    file = tmp_path / "d.safetensors"
    save_file(network.state_dict(), file, metadata={HEADER_KEY: description.to_json()})
    model = load_model(str(file), backend="torch", dtype="float32")
    pixels = torch.randint(0, 256, (batch, 24, 24, 3), dtype=torch.uint8)
    images = normalise(pixels, torch.tensor(preprocessing.mean), torch.tensor(preprocessing.std), torch.float32)
    with torch.inference_mode():
        assert distance(model.logits(pixels), network(images)) < 1e-4
    assert calls == [(5, batch * 9, 256)]


@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_the_engine_of_the_service_goes_through_the_fused_operator(backend: str, calls: list[tuple[int, ...]]) -> None:
    """Backend `triton` runs in Triton's interpreter without a GPU."""
    picture = io.BytesIO()
    Image.new("RGB", (24, 24), "white").save(picture, "PNG")

    async def ask() -> int:
        engine = await AsyncEngine.load("digits-tnt", device="cpu", dtype="float32", backend=backend, max_batch_size=1)
        calls.clear()
        try:
            return len((await engine.classify(picture.getvalue())).predictions)
        finally:
            await engine.close()

    assert asyncio.run(ask()) == 5
    assert calls == [(5, 9, 256)]
