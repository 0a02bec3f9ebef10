"""`attention` in Triton's interpreter against float64: token counts, head widths, both forms, QK-norm."""

import pytest
import torch

from tessella.kernels import ops
from tessella.kernels.options import Options, Workspace
from tessella.kernels.tuning import heuristics
from tessella.kernels.tuning.heuristics import LaunchConfig
from tessella.kernels.weights import NormWeights

from ...support.operators import TORCH, TRITON, error


@pytest.mark.parametrize("tokens", [1, 5, 17, 197, 198, 257, 577])
def test_token_counts(tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One pass up to 256 tokens, as on a GPU, with larger tiles than the interpreter's own, which is faster here."""
    one_pass = tokens <= 256
    monkeypatch.setattr(
        heuristics, "attention", lambda *_: LaunchConfig(128, heuristics.attention_keys(tokens) if one_pass else 128)
    )
    qkv = torch.randn(1, tokens, 3 * 2 * 16)
    assert error(ops.attention(qkv, 2, options=TRITON), ops.attention(qkv.double(), 2, options=TORCH)) < 2e-6


@pytest.mark.parametrize("width", [4, 16, 24, 40, 64, 80, 88])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_head_widths_and_an_odd_batch(width: int, dtype: torch.dtype) -> None:
    qkv = torch.randn(3, 19, 3 * 2 * width).to(dtype)
    expected = ops.attention(qkv.double(), 2, options=TORCH)
    assert error(ops.attention(qkv, 2, options=TRITON), expected) < (2e-6 if dtype == torch.float32 else 1.5e-3)


@pytest.mark.parametrize("tokens", [9, 70])
def test_qk_norm(tokens: int) -> None:
    norms = [NormWeights(torch.rand(24) + 0.5, torch.randn(24), 1e-6) for _ in range(2)]
    wide = [NormWeights(norm.weight.double(), norm.bias.double(), norm.eps) for norm in norms]
    qkv = torch.randn(2, tokens, 3 * 2 * 24) + 1
    result = ops.attention(qkv, 2, *norms, options=TRITON)
    assert error(result, ops.attention(qkv.double(), 2, *wide, options=TORCH)) < 4e-6


def test_scores_of_any_size_do_not_overflow() -> None:
    qkv = torch.randn(1, 40, 3 * 16) * 100
    result = ops.attention(qkv, 1, options=TRITON)
    assert error(result, ops.attention(qkv.double(), 1, options=TORCH)) < 1e-5


def test_every_element_is_written() -> None:
    workspace = Workspace()
    workspace.get("attention", (1, 33, 24), torch.float32, torch.device("cpu")).fill_(float("nan"))
    options = Options(implementation="triton", workspace=workspace)
    assert ops.attention(torch.randn(1, 33, 72), 2, options=options).isfinite().all()
