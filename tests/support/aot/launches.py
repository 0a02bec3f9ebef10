"""Launches to compile ahead of time, recorded from networks that run through the launchers without executing kernels.

Recording the launchers themselves guarantees that constants and arguments are those of a launch on a GPU.
"""

import importlib
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch

from tessella.kernels import device as devices
from tessella.kernels import ops, resize, tnt_ops
from tessella.kernels.device import Gpu, assume_gpu
from tessella.kernels.options import Options, Workspace
from tessella.kernels.resize_plan import Crop
from tessella.kernels.triton import launch as launch_module
from tessella.kernels.tuning import heuristics, tables
from tessella.kernels.tuning.heuristics import LaunchConfig
from tessella.kernels.tuning.tables import Table
from tessella.kernels.weights import LinearWeights
from tessella.models.config import TNTConfig, ViTConfig
from tessella.models.execution.folded_tensors import fold_network
from tessella.models.execution.folded_tnt import FusedTNT
from tessella.models.execution.folded_vit import FusedViT
from tessella.models.folding.graph import FoldedTNT, FoldedViT
from tessella.models.networks.tnt import TNT
from tessella.models.networks.vit import ViT

GPUS = {
    80: Gpu("NVIDIA A100-SXM4-80GB", 80, 108),
    89: Gpu("NVIDIA GeForce RTX 4090", 89, 128),
    90: Gpu("NVIDIA H200", 90, 132),
    100: Gpu("NVIDIA B200", 100, 148),
    120: Gpu("NVIDIA GeForce RTX 5090", 120, 170),
}
BASE = ViTConfig(depth=2)
SMALL = ViTConfig(depth=1, dim=384, heads=6, mlp_dim=1536)
UNUSUAL = replace(SMALL, feedforward="swiglu", qk_norm=True, pooling="mean")
TNT_S = TNTConfig(depth=2)
TNT_B = TNTConfig(depth=2, dim=640, heads=10, mlp_dim=2560, inner_dim=40, inner_mlp_dim=160)
TNT_LEGACY = replace(TNT_S, sub_patch_embedding="image_convolution", normalise_projection=False)
TNT_DIGITS = TNTConfig(
    image_size=24,
    patch_size=8,
    sub_patch_size=2,
    dim=96,
    depth=2,
    heads=3,
    mlp_dim=192,
    inner_dim=16,
    inner_heads=2,
    inner_mlp_dim=32,
    num_classes=10,
    sub_patch_embedding="linear",
)
TRITON = Options(implementation="triton")
HALF = (0.5, 0.5, 0.5)


class Launch(NamedTuple):
    """Arguments of one call of `launch`."""

    kernel: Any
    config: LaunchConfig
    arguments: tuple[Any, ...]
    constants: dict[str, Any]


def heuristic_launches(arch: int) -> list[Launch]:
    """Launches by the heuristic on a GPU of this architecture."""
    with record_launches(GPUS[arch], None) as launches:
        _run_vits(arch)
        _run_tnts(arch)
    return launches


def table_launches(table: Table) -> list[Launch]:
    """Launches of a table of measured configurations on its GPU, one per entry."""
    gpu = next(gpu for gpu in GPUS.values() if gpu.name == table.gpu)
    with record_launches(gpu, table) as launches:
        for key in table.entries:
            _run_entry(key)
    return launches


@contextmanager
def record_launches(gpu: Gpu, table: Table | None) -> Iterator[list[Launch]]:
    """Context manager: record launches for this GPU instead of running them; results are uninitialised tensors."""
    launches: list[Launch] = []

    def record(kernel: Any, grid: object, config: LaunchConfig, *arguments: Any, **constants: Any) -> None:
        launches.append(Launch(kernel, config, arguments, constants))

    modules, launch = [vars(module) for module in _launchers()], launch_module.launch
    unavailable_reason, devices.unavailable_reason = devices.unavailable_reason, lambda device, dtype=None: None
    for names in modules:
        names["launch"] = record
    tables.set_table(gpu, table)
    try:
        with assume_gpu(gpu), torch.inference_mode():
            yield launches
    finally:
        devices.unavailable_reason = unavailable_reason
        tables._tables.pop(gpu)
        for names in modules:
            names["launch"] = launch


def _launchers() -> list[Any]:
    """Modules that launch kernels."""
    names = sorted(path.stem for path in (Path(inspect.getfile(ops)).parent / "triton").glob("*.py"))
    modules = [importlib.import_module(f"tessella.kernels.triton.{name}") for name in names]
    return [module for module in modules if getattr(module, "launch", None) is launch_module.launch]


def _run_vits(arch: int) -> None:
    """Run ViT-B with a large and a small batch; on Hopper also other variants and dtypes, and dependent launch."""
    for batch in (256, 1):
        _run(BASE, torch.bfloat16, batch)
    _run_resize()
    if arch != 90:
        return
    _run(SMALL, torch.float32, 64)
    _run(UNUSUAL, torch.float16, 64)
    ops.attention(torch.empty(64, 257, 3 * 1280, dtype=torch.bfloat16), 16, options=TRITON)
    with _replace_heuristic(lambda *_: LaunchConfig(128, 128, 64, num_warps=8, num_stages=3, pdl=True)):
        _run_linear(50432, 3072, 768, torch.bfloat16, "gelu", folded=True)


def _run_resize() -> None:
    """Resize batches that share no size, divisor or alignment: they must share one compiled kernel."""
    batches = [
        ([Crop((640, 480), (341, 256), (58, 16))] * 16, 224),
        ([Crop((1, 1), (1, 1), (0, 0))], 1),
        ([Crop((37, 901), (25, 608), (3, 300)), Crop((19, 19), (19, 19), (0, 0))], 19),
    ]
    for crops, size in batches:
        packed = torch.empty(1 + sum(crop.bytes for crop in crops), dtype=torch.uint8)
        resize.resize_crop(packed[size % 2 :][: len(packed) - 1], crops, size, options=TRITON)


def _run_tnts(arch: int) -> None:
    """Run TNT-S, TNT-B and the shipped variant; on Hopper also other variants, and one launch per block."""
    for config, batch in ((TNT_S, 128), (TNT_S, 1), (TNT_B, 128), (TNT_DIGITS, 8)):
        _run_tnt_operators(_tnt(config, torch.bfloat16), batch)
    if arch != 90:
        return
    _run_tnt_operators(_tnt(TNT_LEGACY, torch.bfloat16), 8)
    _run_tnt_operators(_tnt(TNT_DIGITS, torch.float16), 1)
    _run_tnt_operators(_tnt(TNT_DIGITS, torch.float32), 8)
    graph = _tnt(TNT_S, torch.bfloat16)
    x = torch.empty(25088, 384, dtype=torch.bfloat16)
    tnt_ops.tnt_inner_block(x, graph.inner_blocks, 0, options=TRITON)
    for part, state in enumerate((x, x.float())):
        tnt_ops.tnt_inner_part(state, graph.inner_blocks, part, part + 1, options=TRITON)
    FusedTNT(graph, TRITON)(torch.empty(1, 224, 224, 3, dtype=torch.uint8))


def _run(config: ViTConfig, dtype: torch.dtype, batch: int) -> None:
    network = FusedViT(_vit(config, dtype), replace(TRITON, workspace=Workspace()))
    network(torch.empty(batch, config.image_size, config.image_size, 3, dtype=torch.uint8))


def _run_tnt_operators(graph: FoldedTNT, batch: int) -> None:
    """Run the operators that only a TNT has."""
    size = graph.config.image_size
    x = tnt_ops.tnt_embed(torch.empty(batch, size, size, 3, dtype=torch.uint8), graph.inner_embedding, options=TRITON)
    inputs = tnt_ops.tnt_inner(x.flatten(0, 1), graph.inner_blocks, options=TRITON)
    rows = tnt_ops.tnt_project(inputs, graph.inner_projections, options=TRITON).unflatten(1, x.shape[:2])
    tokens, _ = tnt_ops.tnt_add(graph.table, rows[0], graph.projection_norms[0], options=TRITON)
    tnt_ops.tnt_add(tokens, rows[1], graph.projection_norms[1], return_statistics=True, options=TRITON)


def _run_entry(key: str) -> None:
    operator, shape, kind, detail = key.split(" ")
    rows, columns, depth = map(int, shape.split("x"))
    dtype = getattr(torch, kind)
    match operator:
        case "linear":
            _run_linear(rows, columns, depth, dtype, detail, folded=False)
        case "attention":
            ops.attention(torch.empty(8, rows, 12 * columns, dtype=dtype), 4, options=TRITON)
        case "tnt_inner":
            graph = _tnt(TNT_S if columns == TNT_S.inner_dim else TNT_B, dtype)
            tnt_ops.tnt_inner(torch.empty(rows, columns * depth, dtype=dtype), graph.inner_blocks, options=TRITON)
        case "tnt_project":
            weights = _tnt(TNT_S if columns == TNT_S.dim else TNT_B, dtype).inner_projections
            tnt_ops.tnt_project(torch.empty(len(weights.weight), rows, depth, dtype=dtype), weights, options=TRITON)
        case _:
            raise ValueError(f"no launch is defined for operator {operator!r}")


def _run_linear(rows: int, columns: int, depth: int, dtype: torch.dtype, activation: str, *, folded: bool) -> None:
    x, vector = torch.empty(rows, depth, dtype=dtype), torch.empty(columns)
    statistics = torch.empty(6, 2, rows) if folded else None
    weights = LinearWeights(torch.empty(columns, depth, dtype=dtype), vector, sums=vector if folded else None, eps=1e-6)
    ops.linear(x, weights, row_statistics=statistics, activation=activation, options=TRITON)


@contextmanager
def _replace_heuristic(choose: Callable[..., LaunchConfig]) -> Iterator[None]:
    names = vars(heuristics)
    original, names["linear"] = names["linear"], choose
    try:
        yield
    finally:
        names["linear"] = original


@cache
def _vit(config: ViTConfig, dtype: torch.dtype) -> FoldedViT:
    return fold_network(ViT(config), HALF, HALF, dtype=dtype)


@cache
def _tnt(config: TNTConfig, dtype: torch.dtype) -> FoldedTNT:
    return fold_network(TNT(config), HALF, HALF, dtype=dtype)
