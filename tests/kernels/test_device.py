"""Machines without triton or a GPU: everything imports, PyTorch runs, errors name what is missing."""

import subprocess
import sys

import pytest
import torch

from tessella.kernels import device
from tessella.kernels.device import SHARED_MEMORY, Gpu

BLOCKED = """
import sys
sys.modules["triton"] = None
import torch
import tessella.kernels.ops as ops, tessella.kernels.resize, tessella.kernels.block_ops
import tessella.models.execution.folded_vit
from tessella.kernels.options import Options
from tessella.kernels.weights import LinearWeights
weights = LinearWeights(torch.eye(4))
print(ops.linear(torch.ones(2, 4), weights)[0].sum().item())
try:
    ops.linear(torch.ones(2, 4), weights, options=Options("triton"))
except RuntimeError as error:
    print(error)
"""

WITHOUT_A_GPU = """
import sys, torch
import tessella.kernels.ops as ops
from tessella.kernels.options import Options
from tessella.kernels.weights import LinearWeights
print("triton" in sys.modules)
try:
    ops.linear(torch.ones(2, 4), LinearWeights(torch.eye(4)), options=Options("triton"))
except RuntimeError as error:
    print(error)
"""


A100 = Gpu("NVIDIA A100-SXM4/80GB", 80, 108)


def output_of(program: str) -> list[str]:
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={"OMP_NUM_THREADS": "1"}, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def test_without_triton() -> None:
    total, message = output_of(BLOCKED)
    assert float(total) == 8.0
    assert message.startswith("the package triton is not installed")
    assert message.endswith("use the implementation 'torch'")


def test_without_a_gpu() -> None:
    imported, message = output_of(WITHOUT_A_GPU)
    assert imported == "False"
    assert message == "Triton kernels need an NVIDIA GPU, and the device is 'cpu'; use the implementation 'torch'"


def test_reasons_why_kernels_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert device.unavailable_reason(cpu, torch.float32) is None
    monkeypatch.delenv("TRITON_INTERPRET")
    assert device.unavailable_reason(cpu) == "Triton kernels need an NVIDIA GPU, and the device is 'cpu'"
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    assert "need compute capability 8.0 or newer, and this GPU has 7.5" in (device.unavailable_reason(cuda) or "")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 0))
    assert device.unavailable_reason(cuda, torch.bfloat16) is None
    assert "float32 runs in PyTorch" in (device.unavailable_reason(cuda, torch.float32) or "")


def test_gpu_properties() -> None:
    assert (A100.shared_memory, A100.has_tma, A100.slug) == (SHARED_MEMORY[80], False, "nvidia-a100-sxm4-80gb")
    assert Gpu("a newer one", 130, 200).shared_memory == min(SHARED_MEMORY.values())
    with device.assume_gpu(A100):
        assert device.gpu_of(torch.device("cpu")) == A100
    assert device.gpu_of(torch.device("cpu")) == device.INTERPRETER
