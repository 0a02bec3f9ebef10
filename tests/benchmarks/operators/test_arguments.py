"""Device and dtype of the GPU benchmarks: invalid names, and GPUs that are missing, are refused with the reason."""

import pytest
import torch

from tessella.benchmarks.operators.arguments import gpu_dtype, require_gpu


def test_dtypes_are_those_that_the_kernels_multiply() -> None:
    assert gpu_dtype("float16") == torch.float16
    with pytest.raises(ValueError, match="dtype 'float32' is neither bfloat16 nor float16: a GPU runs it in PyTorch"):
        gpu_dtype("float32")
    with pytest.raises(ValueError, match="dtype 'int3' is not one of bfloat16, float16"):
        gpu_dtype("int3")


@pytest.mark.parametrize(
    ("name", "reason"),
    [("voodoo", "'voodoo' is not one of cuda"), ("cpu", "needs an NVIDIA GPU, and the device is 'cpu'; use a table")],
)
def test_a_device_that_is_no_gpu_is_refused_with_the_alternative(name: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        require_gpu(name, "use a table")


def test_an_index_beyond_the_gpus_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tessella.benchmarks.operators.arguments.unavailable_reason", lambda _: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match="there is no cuda:3, only 1 GPUs"):
        require_gpu("cuda:3", "")
