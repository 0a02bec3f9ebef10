"""Allocations of an executor: none after the first pass of a batch size, as buffers are reused."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tessella.kernels.options import Options, Workspace
from tessella.models.config import TNTConfig, ViTConfig
from tessella.models.execution.folded_tensors import fold_network
from tessella.models.execution.folded_tnt import FusedTNT
from tessella.models.execution.folded_vit import FusedViT
from tessella.models.networks.tnt import TNT
from tessella.models.networks.vit import ViT

from ...support.aot.launches import GPUS, record_launches

VIT: dict[str, Any] = {"depth": 2, "dim": 64, "heads": 2, "mlp_dim": 128, "image_size": 32, "patch_size": 8}
HALF = (0.5, 0.5, 0.5)


class NewMemory(TorchDispatchMode):
    """Operators that return newly allocated tensors."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operators: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        given = {x.untyped_storage().data_ptr() for x in args if isinstance(x, torch.Tensor)}
        results = result if isinstance(result, list | tuple) else [result]
        if any(isinstance(x, torch.Tensor) and x.untyped_storage().data_ptr() not in given for x in results):
            self.operators.append(str(func))
        return result


def vit(**changes: Any) -> FusedViT:
    graph = fold_network(ViT(ViTConfig(**VIT | changes)), HALF, HALF, dtype=torch.bfloat16)
    return FusedViT(graph, Options("triton", workspace=Workspace()))


def tnt(order: str) -> FusedTNT:
    graph = fold_network(TNT(TNTConfig(depth=2)), HALF, HALF, dtype=torch.bfloat16)
    return FusedTNT(graph, Options("triton", workspace=Workspace()), order=order)


@pytest.mark.parametrize(
    ("make", "copies"),
    [
        (vit, 0),
        (lambda: vit(pooling="mean"), 0),
        (lambda: vit(qk_norm=True, feedforward="swiglu", pre_norm=True), 0),
        (lambda: vit(distillation_token=True), 2),
        (lambda: tnt("ahead"), 0),
        (lambda: tnt("overlapped"), 0),
    ],
    ids=["ViT", "mean", "QK-norm", "distilled: two rows and their statistics", "TNT ahead", "TNT beside"],
)
def test_a_second_pass_allocates_nothing(make: Callable[[], FusedViT], copies: int) -> None:
    network = make()
    size = network.config.image_size
    pixels = torch.zeros(3, size, size, 3, dtype=torch.uint8)
    with record_launches(GPUS[90], None):
        network(pixels)
        with NewMemory() as seen:
            network(pixels)
    assert len(seen.operators) == copies, seen.operators
