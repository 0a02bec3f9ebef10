"""Weights of operators: for arrays of any library, frozen, compared by identity, and importable without torch."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from tessella.kernels.weights import MATRICES, VECTORS, InnerWeights, LinearWeights

from ..support.operators import random_inner_weights


def test_torch_is_not_imported() -> None:
    program = "import sys; sys.modules['torch'] = None; import tessella.kernels.weights"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_sizes_of_inner_weights_are_those_of_tensors_and_arrays() -> None:
    tensors = random_inner_weights(12, 3, 20, depth=2)
    arrays = {name: getattr(tensors, name).numpy() for name in (*MATRICES, *VECTORS)}
    weights = InnerWeights(**arrays, heads=3, eps=1e-5, per_token=False)
    assert (weights.depth, weights.dim) == (tensors.depth, tensors.dim) == (2, 12)


def test_weights_cannot_be_changed_in_place_and_are_compared_by_identity() -> None:
    layer = LinearWeights(np.ones(2))
    with pytest.raises(dataclasses.FrozenInstanceError):
        layer.bias = np.ones(2)  # type: ignore[misc]
    assert layer != LinearWeights(layer.weight)
