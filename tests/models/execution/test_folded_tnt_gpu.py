"""Folded TNT on a GPU: error against PyTorch's, CUDA graphs, inner blocks at once and one by one."""

from dataclasses import replace

import pytest
import torch

from tessella.kernels import tnt_ops
from tessella.kernels.options import Options, Workspace
from tessella.kernels.reference import normalise
from tessella.models.config import TNTConfig
from tessella.models.execution.cuda_graphs import CudaGraphs
from tessella.models.execution.executor import make_executor
from tessella.models.execution.folded_tensors import fold_network
from tessella.models.execution.folded_tnt import FusedTNT
from tessella.models.networks.tnt import TNT

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")]
HALF = (0.5, 0.5, 0.5)
S = TNTConfig(depth=3)
B = replace(S, dim=640, heads=10, mlp_dim=2560, inner_dim=40, inner_mlp_dim=160)
LEGACY = replace(S, sub_patch_embedding="image_convolution", normalise_projection=False)
DIGITS = TNTConfig(
    image_size=24,
    patch_size=8,
    sub_patch_size=2,
    dim=96,
    depth=4,
    heads=3,
    mlp_dim=192,
    inner_dim=16,
    inner_heads=2,
    inner_mlp_dim=32,
    num_classes=10,
    sub_patch_embedding="linear",
)


def network_of(config: TNTConfig) -> TNT:
    torch.manual_seed(0)
    network = TNT(config).eval()
    for parameter in network.parameters():
        parameter.data += torch.randn_like(parameter) * (0.1 if parameter.ndim == 1 else 0.02)
    return network


def pixels_for(config: TNTConfig, batch: int) -> torch.Tensor:
    size = config.image_size
    return torch.randint(0, 256, (batch, size, size, 3), dtype=torch.uint8, device="cuda")


def rms(found: torch.Tensor, expected: torch.Tensor) -> float:
    return ((found.double() - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("config", [S, B, LEGACY, DIGITS], ids=["S", "B", "legacy", "digits"])
def test_the_error_is_no_larger_than_pytorchs(config: TNTConfig, dtype: torch.dtype) -> None:
    network, pixels = network_of(config), pixels_for(config, 16)
    half = torch.tensor(HALF, device="cuda")
    graph = fold_network(network, HALF, HALF, dtype=dtype, device="cuda")
    with torch.inference_mode():
        found = FusedTNT(graph, Options("triton", workspace=Workspace()))(pixels)
        plain = network.to("cuda", dtype)(normalise(pixels, half, half, dtype))
        exact = network_of(config).double().cuda()(normalise(pixels, half.double(), half.double(), torch.float64))
    assert rms(found, exact) <= 1.05 * rms(plain, exact)


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_graphs_replay_the_eager_result(batch: int) -> None:
    network, pixels = network_of(S), pixels_for(S, batch)
    options = Options("triton")
    run = make_executor(network, HALF, HALF, dtype=torch.bfloat16, device=torch.device("cuda", 0), options=options)
    graph = fold_network(network, HALF, HALF, dtype=torch.bfloat16, device="cuda")
    with torch.inference_mode():
        assert run is not None
        first = run(pixels).clone()
        assert torch.equal(first, run(pixels))
        assert torch.equal(first, FusedTNT(graph, options)(pixels))


@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize("config", [S, LEGACY, DIGITS], ids=["S", "legacy", "digits"])
def test_overlapped_inner_blocks_give_the_same_result_captured_or_not(config: TNTConfig, batch: int) -> None:
    graph = fold_network(network_of(config), HALF, HALF, dtype=torch.bfloat16, device="cuda")
    pixels = pixels_for(config, batch)
    with torch.inference_mode():
        ahead, beside = (
            FusedTNT(graph, Options("triton", workspace=Workspace()), order=order) for order in ("ahead", "overlapped")
        )
        expected = ahead(pixels)
        assert torch.equal(beside(pixels), expected)
        graphs = CudaGraphs(
            lambda: FusedTNT(graph, Options("triton", workspace=Workspace()), order="overlapped"),
            config.image_size,
            torch.device("cuda", 0),
        )
        for _ in range(3):
            assert torch.equal(graphs(pixels), expected)


def test_results_are_batch_invariant() -> None:
    graph = fold_network(network_of(S), HALF, HALF, dtype=torch.bfloat16, device="cuda")
    pixels, options = pixels_for(S, 37), Options("triton", batch_invariant=True)
    with torch.inference_mode():
        whole = FusedTNT(graph, options)(pixels)
        for batch in (1, 5, 16):
            assert torch.equal(FusedTNT(graph, options)(pixels[:batch]), whole[:batch])


@pytest.mark.parametrize("patches", [1, 196, 1001])
def test_blocks_one_by_one_are_close_to_all_at_once(patches: int) -> None:
    weights = fold_network(network_of(S), HALF, HALF, dtype=torch.bfloat16, device="cuda").inner_blocks
    words = torch.randn(patches, 384, device="cuda", dtype=torch.bfloat16)
    expected = tnt_ops.tnt_inner(words, weights, options=Options("triton"))
    for index in range(weights.depth):
        words, row = tnt_ops.tnt_inner_block(words, weights, index, options=Options("triton"))
        assert rms(row, expected[1 + index].double()) < 0.02
