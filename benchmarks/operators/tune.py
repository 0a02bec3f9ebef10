"""`tessella tune`: measures launch configurations on this GPU and writes its table, most valuable shapes first.

Every candidate is checked before it is timed; one that does not compile or is wrong is passed over. The table is saved
after each shape, so that a run that is cut short loses nothing and the next goes on where it stopped.
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
from ...models.execution.folded_tnt import ORDER_KEY, FusedTNT
from ...models.folding.fold_tnt import fold_tnt
from ...models.networks.tnt import TNT
from . import cuda_timer
from .block_halves import make
from .tuning_jobs import HALF, Job, Question, candidates, heuristic, jobs, questions, vit_of, work

ARCHITECTURES = (
    "vit_base_patch16_224",
    "tnt_s_patch16_224",
    "vit_small_patch16_224",
    "vit_large_patch16_224",
    "tnt_b_patch16_224",
)
BATCHES = (256, 1, 64, 8, 32, 128)
_TOLERANCE = {torch.bfloat16: 2e-2, torch.float16: 4e-3}

Clock = Callable[[Sequence[Callable[[], object]]], float]


def tune(
    device: torch.device,
    *,
    architectures: Sequence[str] = ARCHITECTURES,
    batches: Sequence[int] = BATCHES,
    dtype: torch.dtype = torch.bfloat16,
    budget: float = 600,
    clock: Clock = cuda_timer.seconds,
    save: Callable[[Table], object] | None = None,
    progress: Callable[[str], object] = lambda _: None,
) -> list[str]:
    """Fills this GPU's table within `budget` seconds.

    Returns:
        What was not reached: run again to go on.
    """
    gpu = gpu_of(device)
    table = tables.table_for(gpu) or tables.new_table(gpu)
    tables.set_table(gpu, table)
    save = save or (lambda measured: measured.save(tables.table_path(gpu)))
    end, left = time.monotonic() + budget, []
    for job in jobs(architectures, batches):
        if job.key(dtype) in table.entries:
            continue
        if time.monotonic() > end:
            left.append(job.key(dtype))
            continue
        progress(job.key(dtype))
        table.entries[job.key(dtype)] = asdict(_fastest(job, table, gpu, dtype, device, clock))
        save(table)
    for question in questions(architectures, batches):
        name = question.key(dtype)
        if name in table.choices:
            continue
        if time.monotonic() > end:
            left.append(name)
            continue
        progress(name)
        table.choices[name] = _quicker(question, dtype, device, clock)
        save(table)
    return left


def _fastest(job: Job, table: Table, gpu: Gpu, dtype: torch.dtype, device: torch.device, clock: Clock) -> LaunchConfig:
    """Of the candidates that compile and are right; the heuristic's where none is quicker."""
    from triton.errors import TritonError

    table.entries.pop(job.key(dtype), None)
    make_run, reference = work(job, dtype, device)
    tried = [heuristic(job, dtype, device), *candidates(job, gpu)]
    best, least = tried[0], float("inf")
    for tile in dict.fromkeys(tried):
        table.entries[job.key(dtype)] = asdict(tile)
        try:
            run = make_run()
            if not _right(run(), reference, dtype):
                continue
            taken = clock([run])
        except (TritonError, RuntimeError, ValueError):  # a tile that triton, the driver or the operator cannot take
            continue
        if taken < least:
            best, least = tile, taken
    return best


def _right(found: torch.Tensor, expected: torch.Tensor, dtype: torch.dtype) -> bool:
    error = (found.float() - expected).norm() / expected.norm()
    return bool(error < _TOLERANCE[dtype])  # false for NaN too


def _quicker(question: Question, dtype: torch.dtype, device: torch.device, clock: Clock) -> str:
    make_ways = _orders if question.composite == ORDER_KEY else _implementations
    with torch.inference_mode():
        taken = {name: clock([run]) for name, run in make_ways(question, dtype, device).items()}
    return min(taken, key=lambda name: taken[name])


def _implementations(question: Question, dtype: torch.dtype, device: torch.device) -> dict[str, Callable[[], object]]:
    half = make(question.composite, vit_of(question.config), question.batch, dtype, device)
    return {"triton": half.triton(), "torch": half.torch()}


def _orders(question: Question, dtype: torch.dtype, device: torch.device) -> dict[str, Callable[[], object]]:
    """The whole network in both orders of its words: what runs beside it decides what is quicker."""
    assert isinstance(question.config, TNTConfig)
    torch.manual_seed(0)
    size = question.config.image_size
    graph = fold_tnt(TNT(question.config), HALF, HALF, dtype=dtype, device=device)
    pixels = torch.randint(0, 256, (question.batch, size, size, 3), dtype=torch.uint8, device=device)
    networks = {
        order: FusedTNT(graph, Options("triton", workspace=Workspace()), order=order)
        for order in ("ahead", "overlapped")
    }
    return {order: partial(network, pixels) for order, network in networks.items()}
