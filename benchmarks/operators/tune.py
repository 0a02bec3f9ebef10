"""Autotuner (`tessella tune`): measures launch configurations on this GPU and writes its table, in order of value.

Every candidate is checked before it is timed; one that does not compile or computes something else is skipped. The
table is saved after each shape: an interrupted run loses nothing, and the next one continues it.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial

import torch

from ...kernels.device import Gpu, gpu_of
from ...kernels.options import Options, Workspace
from ...kernels.tuning import tables
from ...kernels.tuning.heuristics import LaunchConfig
from ...kernels.tuning.tables import Table
from ...models.config import TNTConfig
from ...models.execution.folded_tensors import fold_network
from ...models.execution.folded_tnt import ORDER_KEY, FusedTNT
from ...models.networks.tnt import TNT
from . import cuda_timer
from .arguments import gpu_dtype, require_gpu
from .sub_blocks import make
from .tuning_jobs import MEAN, STD, Comparison, TuningJob, candidates, comparisons, heuristic, tuning_jobs, vit_of, work

ARCHITECTURES = (
    "vit_base_patch16_224",
    "tnt_s_patch16_224",
    "vit_small_patch16_224",
    "vit_large_patch16_224",
    "tnt_b_patch16_224",
)
BATCHES = (256, 1, 64, 8, 32, 128)
_TOLERANCE = {torch.bfloat16: 2e-2, torch.float16: 4e-3}

Timer = Callable[[Sequence[Callable[[], object]]], float]


def tune_gpu(
    name: str,
    architectures: Sequence[str] | None,
    batches: Sequence[int] | None,
    dtype: str,
    budget: float,
    progress: Callable[[str], object],
) -> tuple[str, list[str]]:
    """Tune a GPU by its name: a summary of its table, and what `tune` returns. Arguments as there.

    Raises:
        ValueError: the device or dtype is not one that the kernels support.
    """
    device = require_gpu(name, "without a table, heuristics choose the configurations")
    remaining = tune(
        device,
        architectures=architectures or ARCHITECTURES,
        batches=batches or BATCHES,
        dtype=gpu_dtype(dtype),
        budget=budget,
        progress=progress,
    )
    table = tables.table_for(gpu := gpu_of(device))
    assert table is not None
    counts = f"{len(table.entries)} configurations and {len(table.choices)} choices for {gpu.name}"
    return f"{tables.table_path(gpu)}: {counts}", remaining


def tune(
    device: torch.device,
    *,
    architectures: Sequence[str] = ARCHITECTURES,
    batches: Sequence[int] = BATCHES,
    dtype: torch.dtype = torch.bfloat16,
    budget: float = 600,
    timer: Timer = cuda_timer.median_seconds,
    save: Callable[[Table], object] | None = None,
    progress: Callable[[str], object] = lambda _: None,
) -> list[str]:
    """Fill this GPU's table of launch configurations within `budget` seconds.

    Args:
        timer: median seconds of one of several equal runs.
        save: writes the table; the default writes it where the kernels look for it.
        progress: called with the key of each entry before it is measured.

    Returns:
        Keys of the entries that the budget did not reach; another run continues with them.
    """
    gpu = gpu_of(device)
    table = tables.table_for(gpu) or tables.new_table(gpu)
    tables.set_table(gpu, table)
    save = save or (lambda measured: measured.save(tables.table_path(gpu)))
    end, remaining = time.monotonic() + budget, []
    for job in tuning_jobs(architectures, batches):
        key = job.key(dtype)
        if key in table.entries:
            continue
        if time.monotonic() > end:
            remaining.append(key)
            continue
        progress(key)
        table.entries[key] = asdict(_fastest(job, table, gpu, dtype, device, timer))
        save(table)
    for comparison in comparisons(architectures, batches):
        key = comparison.key(dtype)
        if key in table.choices:
            continue
        if time.monotonic() > end:
            remaining.append(key)
            continue
        progress(key)
        table.choices[key] = _faster(comparison, dtype, device, timer)
        save(table)
    return remaining


def _fastest(
    job: TuningJob, table: Table, gpu: Gpu, dtype: torch.dtype, device: torch.device, timer: Timer
) -> LaunchConfig:
    """Fastest configuration that compiles and computes the reference; the heuristic's where none is faster."""
    from triton.errors import TritonError

    table.entries.pop(job.key(dtype), None)
    make_run, reference = work(job, dtype, device)
    configs = [heuristic(job, dtype, device), *candidates(job, gpu)]
    best, min_seconds = configs[0], float("inf")
    for config in dict.fromkeys(configs):
        table.entries[job.key(dtype)] = asdict(config)
        try:
            run = make_run()
            if not _is_correct(run(), reference, dtype):
                continue
            seconds = timer([run])
        except (TritonError, RuntimeError, ValueError):  # triton, the driver or the operator rejects the configuration
            continue
        if seconds < min_seconds:
            best, min_seconds = config, seconds
    return best


def _is_correct(result: torch.Tensor, expected: torch.Tensor, dtype: torch.dtype) -> bool:
    error = (result.float() - expected).norm() / expected.norm()
    return bool(error < _TOLERANCE[dtype])  # false for NaN too


def _faster(comparison: Comparison, dtype: torch.dtype, device: torch.device, timer: Timer) -> str:
    make_variants = _orders if comparison.composite == ORDER_KEY else _implementations
    with torch.inference_mode():
        seconds = {name: timer([run]) for name, run in make_variants(comparison, dtype, device).items()}
    return min(seconds, key=lambda name: seconds[name])


def _implementations(
    comparison: Comparison, dtype: torch.dtype, device: torch.device
) -> dict[str, Callable[[], object]]:
    """Sub-block in Triton and in PyTorch."""
    sub_block = make(comparison.composite, vit_of(comparison.config), comparison.batch, dtype, device)
    return {"triton": sub_block.triton(), "torch": sub_block.torch()}


def _orders(comparison: Comparison, dtype: torch.dtype, device: torch.device) -> dict[str, Callable[[], object]]:
    """The whole network in both orders of its inner path, since the faster one depends on what runs beside it."""
    assert isinstance(comparison.config, TNTConfig)
    torch.manual_seed(0)
    size = comparison.config.image_size
    graph = fold_network(TNT(comparison.config), MEAN, STD, dtype=dtype, device=device)
    pixels = torch.randint(0, 256, (comparison.batch, size, size, 3), dtype=torch.uint8, device=device)
    networks = {
        order: FusedTNT(graph, Options("triton", workspace=Workspace()), order=order)
        for order in ("ahead", "overlapped")
    }
    return {order: partial(network, pixels) for order, network in networks.items()}
