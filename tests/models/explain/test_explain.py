"""Explanations: equal to timm's own attention, recorded from timm's modules in float64."""

from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tessella.models.checkpoints.convert import translate
from tessella.models.config import TNTConfig, ViTConfig
from tessella.models.execution.classifier import ATTENTION_BATCH_SIZE
from tessella.models.explain.explain import Method, attention_maps, explain
from tessella.models.networks.build import build_with_weights
from tessella.models.networks.tnt import TNT
from tessella.models.networks.vit import ViT
from tessella.models.registry import load_model, load_network
from tessella.models.variants import VARIANTS

from ...support.references import randomise, timm_network

SIZE = 64
ARGUMENTS: dict[str, dict[str, Any]] = {
    "vit_tiny_patch16_224": {},
    "deit_tiny_distilled_patch16_224": {},
    "vit_medium_patch16_reg4_gap_256": {},
    "vit_small_patch14_reg4_dinov2": {"img_size": 56},
    "vit_wee_patch16_reg1_gap_256": {"qk_norm": True},
    "tnt_s_patch16_224": {},
    "tnt_s_legacy_patch16_224": {},
}


class Pair:
    """timm's network and ours with the same weights in float64, and the attention weights that timm computes."""

    def __init__(self, name: str) -> None:
        arguments = {"img_size": SIZE, "depth": 3, **ARGUMENTS[name]}
        self.theirs = timm_network(name, **arguments).double()
        changes = {"depth": 3, "image_size": arguments["img_size"], "num_classes": VARIANTS[name].num_classes}
        if "qk_norm" in arguments:
            changes["qk_norm"] = True
        self.config = replace(VARIANTS[name], **changes)
        state = translate(self.theirs.state_dict(), self.config)
        self.ours = build_with_weights(self.config, state).double()
        self.image = torch.randn(3, *[arguments["img_size"]] * 2, dtype=torch.float64)
        self.outer: list[Tensor] = []
        self.inner: list[Tensor] = []
        self._watch()

    def _watch(self) -> None:
        for name, module in self.theirs.named_modules():
            if hasattr(module, "fused_attn"):
                module.fused_attn = False
            if name.endswith("attn_drop"):
                seen = self.inner if "attn_in" in name else self.outer
                module.register_forward_hook(lambda module, inputs, output, seen=seen: seen.append(output))

    @torch.inference_mode()
    def run(self) -> Tensor:
        logits: Tensor = self.theirs(self.image[None])[0]
        return logits


@pytest.fixture(params=ARGUMENTS)
def pair(request: pytest.FixtureRequest) -> Pair:
    torch.manual_seed(0)
    return Pair(request.param)


def test_everything_agrees_with_timms_own_attention(pair: Pair) -> None:
    logits = pair.run()
    ours = explain(pair.ours, pair.image)
    assert torch.allclose(ours.logits, logits, rtol=0, atol=1e-9)
    weights = torch.cat(pair.outer)  # (L, H, N, N)
    grid, mean = pair.config.grid, getattr(pair.config, "pooling", "token") == "mean"
    prefix = weights.shape[-1] - grid**2
    read = weights[:, :, prefix:].mean(dim=2) if mean else weights[:, :, 0]
    assert torch.allclose(ours.attention.flatten(2), read[:, :, prefix:], rtol=0, atol=1e-12)

    flow = torch.eye(weights.shape[-1], dtype=torch.float64)
    for layer, some in enumerate(weights):
        flow = (some.mean(dim=0) + torch.eye(len(flow))) / 2 @ flow
        arrived = flow[prefix:].mean(dim=0) if mean else flow[0]
        assert torch.allclose(ours.rollout[layer].flatten(), arrived[prefix:], rtol=0, atol=1e-12)

    places = torch.tensor([divmod(one, grid) for one in range(grid**2)], dtype=torch.float64)
    apart = pair.config.patch_size * (places[:, None] - places).norm(dim=-1)
    among = weights[:, :, prefix:, prefix:]
    expected = (among * apart).sum(dim=-1) / among.sum(dim=-1)
    assert torch.allclose(ours.distance, expected.mean(dim=-1), rtol=0, atol=1e-9)


def test_inner_attention_agrees_with_timms(pair: Pair) -> None:
    pair.run()
    inner = explain(pair.ours, pair.image).inner
    if not isinstance(pair.config, TNTConfig):
        assert inner is None
        return
    assert inner is not None
    words = torch.stack(pair.inner)  # (L, P, h, W, W)
    for layer, head, patch, word in ((0, 0, 0, 0), (2, 3, 6, 9), (1, 2, 15, 15)):
        row, column = (4 * (patch // 4) + word // 4, 4 * (patch % 4) + word % 4)
        expected = words[layer, patch, head, :, word].mean()
        assert float(inner.attention[layer, head, row, column]) == pytest.approx(float(expected), abs=1e-12)
    assert inner.features.shape == (3, pair.config.inner_dim, 16, 16)
    assert inner.distance.shape == (3, pair.config.inner_heads)


def test_a_batch_gives_the_maps_of_each_image(pair: Pair) -> None:
    images = torch.stack([pair.image, pair.image.flip(-1), 2 * pair.image])
    reads, flows = attention_maps(pair.ours, images, "attention"), attention_maps(pair.ours, images, "rollout")
    for index, image in enumerate(images):
        alone = explain(pair.ours, image)
        assert torch.allclose(reads[index], alone.attention.mean(dim=1).float(), rtol=0, atol=1e-7)
        assert torch.allclose(flows[index], alone.rollout.float(), rtol=0, atol=1e-7)


def test_a_classifier_splits_large_batches() -> None:
    model = load_model("digits-tnt", dtype="float32")
    pixels = np.random.default_rng(0).integers(0, 256, (2 * ATTENTION_BATCH_SIZE + 1, 24, 24, 3), dtype=np.uint8)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1
    for method in get_args(Method):
        expected = attention_maps(load_network("digits-tnt"), images, method)
        assert torch.allclose(model.attention_maps(pixels, method), expected, atol=1e-5)


def test_no_hooks_are_left(pair: Pair) -> None:
    explain(pair.ours, pair.image)
    assert not any(module._forward_hooks for module in pair.ours.modules())


def test_features_are_the_blocks_own_outputs() -> None:
    small: dict[str, Any] = {"image_size": 16, "patch_size": 4, "dim": 32, "depth": 2, "heads": 2, "mlp_dim": 64}
    network = ViT(ViTConfig(**small, num_classes=5, register_tokens=2))
    randomise(network)
    image = torch.randn(3, 16, 16)
    features = explain(network, image).features  # (L, D, g, g)
    with torch.inference_mode():
        expected = network.encode(image[None])[0, 3:]
        assert torch.allclose(network.norm(features[-1].flatten(1).T), expected, atol=1e-5)


def test_inner_features_are_at_their_pixels() -> None:
    config = TNTConfig(
        image_size=16,
        patch_size=8,
        sub_patch_size=2,
        dim=32,
        depth=1,
        heads=2,
        mlp_dim=64,
        inner_dim=8,
        inner_heads=2,
        inner_mlp_dim=16,
        num_classes=5,
        sub_patch_embedding="linear",
    )
    network = TNT(config)
    randomise(network)
    image = torch.randn(3, 16, 16)
    changed = image.clone()
    changed[:, 8:, :8] = 0  # the lower left patch
    before, after = (explain(network, one).inner for one in (image, changed))
    assert before is not None
    assert after is not None
    moved = (before.features - after.features).abs().amax(dim=(0, 1)) > 0
    assert moved[4:, :4].all()
    assert not moved[:4].any()
    assert not moved[4:, 4:].any()


def test_timms_attention_is_recorded() -> None:
    """Guard of the tests above, which would compare nothing without recorded weights."""
    torch.manual_seed(0)
    pair = Pair("tnt_s_patch16_224")
    pair.run()
    assert (len(pair.outer), len(pair.inner)) == (3, 3)
    assert isinstance(pair.theirs, nn.Module)
