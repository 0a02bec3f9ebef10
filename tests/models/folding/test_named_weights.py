"""Named weights: arrays in float64, submodules by prefix, and an error for what is missing."""

import ml_dtypes
import numpy as np
import pytest

from tessella.models.folding.named_weights import NamedWeights

ARRAYS = {
    "block.mlp.weight": np.array([[1.5, 2.0]], ml_dtypes.bfloat16),
    "block.mlp.bias": np.array([3.0], np.float16),
    "block.norm.weight": np.array([4.0, 5.0], np.float32),
    "block.norm.bias": np.array([6.0, 7.0]),
}
BLOCK = NamedWeights(ARRAYS, 1e-3).part("block")


def test_arrays_are_copies_in_float64() -> None:
    for name in ("mlp.weight", "mlp.bias", "norm.weight", "norm.bias"):
        array, stored = BLOCK.array(name), ARRAYS[f"block.{name}"]
        assert array.dtype == np.float64
        assert array.tolist() == stored.tolist()
        assert not np.shares_memory(array, stored)


def test_a_linear_layer_has_the_norm_before_it() -> None:
    layer = BLOCK.linear("mlp", norm="norm")
    assert layer.norm is not None
    assert layer.bias is not None
    assert layer.weight.tolist() == [[1.5, 2.0]]
    assert layer.bias.tolist() == [3.0]
    assert (layer.norm.weight.tolist(), layer.norm.bias.tolist(), layer.norm.eps) == ([4.0, 5.0], [6.0, 7.0], 1e-3)
    assert BLOCK.linear("mlp", bias=False).bias is None
    assert BLOCK.linear("mlp").norm is None


def test_a_missing_weight_is_named() -> None:
    with pytest.raises(KeyError, match=r"block\.mlp\.scale"):
        BLOCK.array("mlp.scale")
