"""Operators of the benchmark: multiply-accumulates and bytes by hand, and PyTorch's result against float64."""

import pytest
import torch

from tessella.benchmarks.operators import operators
from tessella.benchmarks.operators.measure import relative_error
from tessella.models.config import Config

from ...support.tiny_networks import CPU, TINY, TINY_TNT

ROWS = 2 * TINY.tokens


@pytest.mark.parametrize("config", [TINY, TINY_TNT], ids=["vit", "tnt"])
def test_every_operator_computes_its_reference(config: Config) -> None:
    for name in operators.names_of(config):
        operator = operators.make(name, config, 2, torch.float32, CPU)
        assert (operator.name, operator.batch, operator.dtype) == (name, 2, torch.float32)
        assert relative_error(operator.torch()(), operator.reference()) < 1e-5, name


def test_a_product_counts_its_macs_and_each_tensor_once() -> None:
    operator = operators.make("projection", TINY, 2, torch.float32, CPU)
    assert operator.macs() == ROWS * 32 * 32
    assert operator.bytes() == 4 * (ROWS * 32 + 32 * 32 + 32 + ROWS * 32 + ROWS * 32)


def test_attention_counts_scores_and_mixing() -> None:
    operator = operators.make("attention", TINY, 2, torch.float32, CPU)
    assert operator.macs() == 2 * ROWS * TINY.tokens * 32
    assert operator.bytes() == 4 * (ROWS * 96 + ROWS * 32)


def test_a_residual_is_added() -> None:
    operator = operators.make("contract", TINY, 1, torch.float32, CPU)
    x, weight, bias, residual = operator.inputs
    expected = torch.nn.functional.linear(x, weight, bias) + residual
    assert relative_error(operator.torch()(), expected) < 1e-5
