"""What a machine without triton or a GPU gets: everything imports, PyTorch runs, the kernels say what is missing."""

import subprocess
import sys

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
