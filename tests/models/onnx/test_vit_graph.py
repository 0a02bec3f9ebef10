"""Written graphs of ViTs: every option of the network, opset and dtype, and the operators that they consist of."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tessella.models.config import ViTConfig

from ...support.exports import VIT
from ...support.onnx_graphs import written_operators

CONFIGS = {
    "layer scale": replace(VIT, layer_scale=True, depth=2),
    "mean": replace(VIT, pooling="mean"),
    "norm after pooling, swiglu": replace(VIT, pooling="mean", norm_after_pooling=True, feedforward="swiglu"),
    "token and mean": replace(VIT, pooling="token_mean", register_tokens=2),
    "distilled": replace(VIT, distillation_token=True, depth=2),
    "query-key norm, pre-norm, quick GELU": replace(VIT, qk_norm=True, pre_norm=True, feedforward="quick_gelu"),
    "no class token": replace(VIT, class_token=False, pooling="mean", position="none"),
    "no biases": replace(VIT, qkv_bias=False, patch_bias=False),
}


@pytest.mark.parametrize("form", ["folded", "plain"])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_graph_computes_the_networks_logits(config: ViTConfig, form: str, tmp_path: Path) -> None:
    written_operators(config, tmp_path, form=form)


@pytest.mark.parametrize("config", [CONFIGS["layer scale"], CONFIGS["distilled"]], ids=["one head", "two heads"])
@pytest.mark.parametrize("opset", [20, 23])
def test_float16_keeps_norms_in_float32(config: ViTConfig, opset: int, tmp_path: Path) -> None:
    operators = Counter(written_operators(config, tmp_path, opset=opset, dtype="float16", tolerance=2e-2))
    assert operators["Cast"] >= 2 * operators["LayerNormalization"]


def test_a_linear_layer_is_one_product_with_its_bias(tmp_path: Path) -> None:
    """Four in each block; the patch embedding and the two of each head in the last block multiply otherwise."""
    operators = Counter(written_operators(replace(VIT, depth=3), tmp_path))
    assert operators["Gemm"] == 2 * 4 + 4 + 1
    assert operators["Mul"] == 3, "scores are scaled, and nothing else"


def test_attention_is_one_operator_where_there_is_one(tmp_path: Path) -> None:
    config = replace(VIT, depth=3)
    assert "Attention" not in written_operators(config, tmp_path)
    assert written_operators(config, tmp_path, opset=23).count("Attention") == 2
    assert written_operators(config, tmp_path, fusions=True).count("MultiHeadAttention") == 2
