"""Dtype and CPU threads: the rules of the choice, with stand-ins for the measurement."""

import pytest
import torch
from torch import nn

from tessella.models.execution import dtype as dtypes
from tessella.models.execution.dtype import choose_dtype, limit_threads

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("speedup", "dtype"), [(1.0, torch.float32), (1.1, torch.float32), (1.2, torch.bfloat16), (3.0, torch.bfloat16)]
)
def test_bfloat16_needs_a_speedup(speedup: float, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dtypes, "has_bfloat16", lambda: True)
    monkeypatch.setattr(dtypes, "bfloat16_speedup", lambda network, size: speedup)
    chosen, reason = choose_dtype("auto", nn.Identity(), 32, CPU)
    assert chosen == dtype
    assert f"{speedup:.2f}" in reason


def test_without_bfloat16_instructions_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dtypes, "has_bfloat16", lambda: False)
    monkeypatch.delattr(dtypes, "bfloat16_speedup")
    assert choose_dtype("auto", nn.Identity(), 32, CPU)[0] == torch.float32


def test_the_measurement_does_not_change_the_network() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4)).requires_grad_(False)
    assert dtypes.bfloat16_speedup(network, 8, passes=1) > 0
    assert network[1].weight.dtype == torch.float32


@pytest.mark.parametrize(("capability", "dtype"), [((7, 5), torch.float16), ((9, 0), torch.bfloat16)])
def test_on_a_gpu_its_tensor_cores_decide(
    capability: tuple[int, int], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert choose_dtype("auto", nn.Identity(), 32, torch.device("cuda:0"))[0] == dtype


def test_an_unknown_dtype_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'int8' is not one of auto, float32, bfloat16, float16"):
        choose_dtype("int8", nn.Identity(), 32, CPU)


def test_threads_are_lowered_and_never_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    monkeypatch.setattr(dtypes, "usable_cores", lambda: before + 7)
    assert limit_threads() == before
    monkeypatch.setattr(dtypes, "usable_cores", lambda: 1)
    assert limit_threads() == 1
    torch.set_num_threads(before)
