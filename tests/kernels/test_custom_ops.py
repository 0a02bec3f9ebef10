"""Custom operators: exported graphs contain them, fake tensors have their shapes, schemas are valid."""

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from tessella.kernels import custom_ops, ops
from tessella.kernels.block_ops import fused_qkv_attention, layernorm_mlp
from tessella.kernels.options import Options
from tessella.kernels.resize_plan import Crop, plan_resize
from tessella.kernels.weights import LinearWeights

TRITON = Options(implementation="triton")


def weights(columns: int, depth: int) -> LinearWeights:
    weight = torch.randn(columns, depth) / depth**0.5
    return LinearWeights(weight, torch.randn(columns), sums=weight.sum(dim=1), eps=1e-6)


class Block(torch.nn.Module):
    """An encoder block of both sub-blocks."""

    def __init__(self, options: Options) -> None:
        super().__init__()
        self.options = options
        self.qkv, self.projection = weights(48, 16), LinearWeights(torch.randn(16, 16))
        self.expand, self.contract = weights(32, 16), LinearWeights(torch.randn(16, 32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, statistics = fused_qkv_attention(
            x, self.qkv, self.projection, 2, return_statistics=True, options=self.options
        )
        z, _ = layernorm_mlp(
            y.flatten(0, 1), self.expand, self.contract, row_statistics=statistics, options=self.options
        )
        return z.view_as(x)


def test_an_exported_graph_contains_the_operators() -> None:
    torch.manual_seed(0)
    block, x = Block(TRITON), torch.randn(2, 5, 16)
    exported = torch.export.export(block, (x,))
    text = str(exported.graph)
    assert text.count("tessella.linear") == 4
    assert text.count("tessella.attention") == 1
    expected = block(x)
    block.options = Options("torch")
    torch.testing.assert_close(expected, block(x), atol=1e-4, rtol=1e-4)


def test_shapes_of_fake_tensors() -> None:
    with FakeTensorMode(allow_non_fake_inputs=True):
        result, statistics = ops.linear(torch.empty(7, 16), weights(40, 16), return_statistics=True, options=TRITON)
        assert result.shape == (7, 40)
        assert statistics is not None
        assert statistics.shape == (2, 2, 7)


def test_schemas() -> None:
    x, out = torch.randn(3, 2, 8), torch.empty(3, 2, 16)
    torch.library.opcheck(custom_ops.grouped_linear, (x, torch.randn(2, 16, 8), out))
    resize_plan = plan_resize([Crop((5, 4), (6, 5), (1, 1)), Crop((3, 3), (3, 3), (0, 0))], 3, "bicubic")
    packed, scratch = (
        torch.zeros(resize_plan.bytes, dtype=torch.uint8),
        torch.empty(resize_plan.scratch, dtype=torch.uint8),
    )
    torch.library.opcheck(
        custom_ops.resize_pass,
        (packed, torch.from_numpy(resize_plan.metadata), *resize_plan.grids[0], resize_plan.size, scratch),
    )
