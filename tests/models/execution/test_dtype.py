"""Dtype and CPU threads: the rules of the choice, without any measurement."""

import time
from dataclasses import replace

import pytest
import torch

from tessella.models import cpu
from tessella.models.config import ViTConfig
from tessella.models.execution import dtype as dtypes
from tessella.models.execution.dtype import choose_dtype, limit_threads
from tessella.models.variants import VARIANTS

from ...support.exports import VIT as SMALL

CPU = torch.device("cpu")
LARGE = VARIANTS["vit_base_patch16_224"]
assert isinstance(LARGE, ViTConfig)
HEADLESS = replace(LARGE, num_classes=0)


@pytest.mark.parametrize(
    ("config", "bfloat16", "dtype", "reason"),
    [
        (LARGE, True, torch.bfloat16, "bfloat16, as this cpu has bfloat16 instructions"),
        (LARGE, False, torch.float32, "float32, as this cpu has no bfloat16 instructions"),
        (SMALL, True, torch.float32, "float32, as the network is small"),
        (HEADLESS, True, torch.float32, "float32, as the network has no classes"),
    ],
)
def test_on_a_cpu_instructions_and_network_decide(
    config: ViTConfig, bfloat16: bool, dtype: torch.dtype, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu, "has_bfloat16", lambda: bfloat16)
    monkeypatch.setattr(time, "perf_counter", lambda: pytest.fail("timed"))
    assert choose_dtype("auto", config, CPU) == (dtype, reason)


@pytest.mark.parametrize("name", dtypes.DTYPES)
def test_a_requested_dtype_is_taken(name: str) -> None:
    assert choose_dtype(name, SMALL, CPU) == (dtypes.DTYPES[name], name)


@pytest.mark.parametrize(("capability", "dtype"), [((7, 5), torch.float16), ((9, 0), torch.bfloat16)])
def test_on_a_gpu_its_tensor_cores_decide(
    capability: tuple[int, int], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert choose_dtype("auto", SMALL, torch.device("cuda:0"))[0] == dtype


def test_an_unknown_dtype_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'int8' is not one of auto, float32, bfloat16, float16"):
        choose_dtype("int8", SMALL, CPU)


def test_threads_are_lowered_and_never_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    monkeypatch.setattr(dtypes, "usable_cores", lambda: before + 7)
    assert limit_threads() == before
    monkeypatch.setattr(dtypes, "usable_cores", lambda: 1)
    assert limit_threads() == 1
    torch.set_num_threads(before)
