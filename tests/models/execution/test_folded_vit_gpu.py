"""Folded ViT on a GPU: error against PyTorch's, CUDA graphs, batch invariance, no compilation after warm-up."""

from typing import Any

import pytest
import torch

from tessella.kernels import resize
from tessella.kernels.options import Options, Workspace
from tessella.kernels.reference import normalise
from tessella.kernels.resize_plan import Crop
from tessella.models.config import ViTConfig
from tessella.models.execution.executor import CudaGraphExecutor, make_executor
from tessella.models.execution.folded_tensors import fold_network
from tessella.models.execution.folded_vit import FusedViT
from tessella.models.networks.vit import ViT

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")]
SMALL: dict[str, Any] = {"dim": 384, "depth": 3, "heads": 6, "mlp_dim": 1536, "num_classes": 1000}
HALF = (0.5, 0.5, 0.5)


def network_of(**changes: Any) -> ViT:
    torch.manual_seed(0)
    network = ViT(ViTConfig(**SMALL | changes)).eval()
    for parameter in network.parameters():
        if parameter.ndim == 1:
            parameter.data += torch.randn_like(parameter) * 0.1
    return network


def pixels_for(batch: int, size: int = 224) -> torch.Tensor:
    return torch.randint(0, 256, (batch, size, size, 3), dtype=torch.uint8, device="cuda")


def rms(found: torch.Tensor, expected: torch.Tensor) -> float:
    return ((found.double() - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"distillation_token": True},
        {"qk_norm": True, "feedforward": "swiglu"},
        {"patch_size": 14, "dim": 320, "heads": 4},
        {"pooling": "mean"},
    ],
    ids=str,
)
def test_the_error_is_no_larger_than_pytorchs(changes: dict[str, Any], dtype: torch.dtype) -> None:
    network = network_of(**changes)
    pixels, half = pixels_for(64), torch.tensor(HALF, device="cuda")
    graph = fold_network(network, HALF, HALF, dtype=dtype, device="cuda")
    with torch.inference_mode():
        found = FusedViT(graph, Options("triton", workspace=Workspace()))(pixels)
        plain = network.to("cuda", dtype)(normalise(pixels, half, half, dtype))
        exact = network_of(**changes).double().cuda()(normalise(pixels, half.double(), half.double(), torch.float64))
    assert rms(found, exact) <= 1.05 * rms(plain, exact)


@pytest.mark.parametrize("batch", [1, 3, 8, 33])
def test_graphs_replay_the_eager_result(batch: int) -> None:
    network, pixels = network_of(), pixels_for(batch)
    device = torch.device("cuda", 0)
    run = make_executor(network, HALF, HALF, dtype=torch.bfloat16, device=device, options=Options("triton"))
    graph = fold_network(network, HALF, HALF, dtype=torch.bfloat16, device="cuda")
    with torch.inference_mode():
        assert run is not None
        first = run(pixels)
        assert torch.equal(first, run(pixels))
        direct = FusedViT(graph, Options("triton"))(pixels)
    assert rms(first, direct.double()) < 1e-2


def test_results_are_batch_invariant() -> None:
    graph = fold_network(network_of(), HALF, HALF, dtype=torch.bfloat16, device="cuda")
    pixels = pixels_for(37)
    with torch.inference_mode():
        whole = FusedViT(graph, Options("triton", batch_invariant=True))(pixels)
        for batch in (1, 5, 16):
            part = FusedViT(graph, Options("triton", batch_invariant=True))(pixels[:batch])
            assert torch.equal(part, whole[:batch])


def test_nothing_compiles_after_warm_up() -> None:
    import triton

    run = make_executor(
        network_of(), HALF, HALF, dtype=torch.bfloat16, device=torch.device("cuda", 0), options=Options("triton")
    )
    assert isinstance(run, CudaGraphExecutor)
    with torch.inference_mode():
        run.prepare([1, 8])
        compiled: list[object] = []
        triton.knobs.runtime.jit_post_compile_hook = lambda **details: compiled.append(details)
        try:
            for batch in (1, 5, 8):
                run(pixels_for(batch))
        finally:
            triton.knobs.runtime.jit_post_compile_hook = None
    assert compiled == []


def test_resize_and_crop_are_pillows_bytes() -> None:
    crops = [
        Crop((641, 480), (342, 256), (59, 16)),
        Crop((224, 224), (224, 224), (0, 0)),
        Crop((33, 1201), (256, 9316), (16, 4546)),
        Crop((1999, 77), (256, 256), (16, 16)),
        Crop((300, 2400), (256, 2048), (16, 912)),
    ] * 3
    packed = torch.randint(0, 256, (sum(crop.bytes for crop in crops),), dtype=torch.uint8, device="cuda")
    for interpolation in ("bicubic", "bilinear"):
        found = resize.resize_crop(packed, crops, 224, interpolation, options=Options("triton"))
        expected = resize.resize_crop(packed.cpu(), crops, 224, interpolation, options=Options("torch"))
        assert torch.equal(found.cpu(), expected)
