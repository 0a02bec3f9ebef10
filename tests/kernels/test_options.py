"""Options: choice of implementation, buffers with and without a workspace."""

import pytest
import torch

from tessella.kernels.options import Options, Workspace
from tessella.kernels.tuning.heuristics import LaunchConfig

CPU = torch.device("cpu")


def test_a_workspace_reuses_a_buffer_of_the_same_kind() -> None:
    workspace = Workspace()
    first = workspace.get("a", (2, 3), torch.float32, CPU)
    assert workspace.get("a", (2, 3), torch.float32, CPU) is first
    assert workspace.get("b", (2, 3), torch.float32, CPU) is not first
    assert workspace.bytes == 48
    first.fill_(1)
    assert workspace.get("a", (3, 2), torch.float32, CPU).count_nonzero() == 0
    assert workspace.get("a", (3, 2), torch.float16, CPU).dtype == torch.float16
    assert workspace.bytes == 36


def test_implementations() -> None:
    x = torch.empty(1)
    assert [Options(name).uses_triton(x) for name in ("auto", "torch", "triton")] == [False, False, True]
    with pytest.raises(ValueError, match="implementation 'cuda' is not one of auto, torch, triton"):
        Options("cuda").uses_triton(x)  # type: ignore[arg-type]


def test_results_are_new_tensors_without_a_workspace() -> None:
    options, kept = Options(), Options(workspace=Workspace())
    kind = ("a", (4,), torch.float32, CPU)
    assert options.empty(*kind) is not options.empty(*kind)
    assert kept.empty(*kind) is kept.empty(*kind)
    assert kept.zeros(*kind) is kept.empty(*kind)
    assert options.zeros(*kind).count_nonzero() == 0


def test_buffers_of_row_statistics_have_a_part_per_tile() -> None:
    out = torch.empty(2, 3, 72)
    statistics = Options().statistics_buffer(True, "a", out, 32)
    assert statistics is not None
    assert statistics.shape == (3, 2, 6)
    assert Options().statistics_buffer(False, "a", out, 32) is None


def test_split_k_buffers_hold_every_part_of_every_tile() -> None:
    config = LaunchConfig(16, 32, split_k=4)
    partials, counters = Options().split_k_buffers("a", config, 17, 40, CPU)
    assert partials is not None
    assert counters is not None
    assert partials.shape == (4 * 4 * 16 * 32,)
    assert counters.tolist() == [0] * 4
    assert Options().split_k_buffers("a", LaunchConfig(16, 32), 17, 40, CPU) == (None, None)
