"""`tessella tune`: measures launch configurations on this GPU and writes its table, most valuable shapes first.

Every candidate is checked before it is timed; one that does not compile or is wrong is passed over. The table is saved
after each shape, so that a run that is cut short loses nothing and the next goes on where it stopped.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

import torch

from ..kernels import tables, tuning
from ..kernels.devices import Gpu, gpu_of
from ..kernels.ops import attention, linear
from ..kernels.options import Options, Workspace
from ..kernels.tables import Table
from ..kernels.tuning import Tile
from ..kernels.weights import LinearWeights
from ..models.config import ViTConfig
from . import gpu_clock
from .halves import COMPOSITES, make
from .roofline import config_of

ARCHITECTURES = ("vit_base_patch16_224", "vit_small_patch16_224", "vit_large_patch16_224")
BATCHES = (256, 1, 64, 8, 32, 128)
_TOLERANCE = {torch.bfloat16: 2e-2, torch.float16: 4e-3, torch.float32: 1e-5}

Clock = Callable[[Sequence[Callable[[], object]]], float]


@dataclass(frozen=True, slots=True)
class Job:
    """One shape of one operator. For attention rows are tokens and columns the head's width, whatever the batch."""

    operator: str
    rows: int
    columns: int
    depth: int
    detail: str
    config: ViTConfig
    batch: int

    def key(self, dtype: torch.dtype) -> str:
        return tables.key(self.operator, self.rows, self.columns, self.depth, dtype, self.detail)


def tune(
    device: torch.device,
    *,
    architectures: Sequence[str] = ARCHITECTURES,
    batches: Sequence[int] = BATCHES,
    dtype: torch.dtype = torch.bfloat16,
    budget: float = 600,
    clock: Clock = gpu_clock.seconds,
    save: Callable[[Table], object] | None = None,
    progress: Callable[[str], object] = lambda _: None,
) -> list[str]:
    """Fills this GPU's table within `budget` seconds.

    Returns:
        What was not reached: run again to go on.
    """
    gpu = gpu_of(device)
    table = tables.of(gpu) or tables.empty(gpu)
    tables.install(gpu, table)
    save = save or (lambda measured: measured.save(tables.path_of(gpu)))
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
    for composite, config, batch in _composites(architectures, batches):
        name = tables.key(composite, batch * config.tokens, config.dim, 0, dtype)
        if name in table.choices:
            continue
        if time.monotonic() > end:
            left.append(name)
            continue
        progress(name)
        table.choices[name] = _quicker(composite, config, batch, dtype, device, clock)
        save(table)
    return left


def jobs(architectures: Sequence[str], batches: Sequence[int]) -> Iterator[Job]:
    """The shapes of the networks' blocks, each once."""
    seen = set()
    for architecture in architectures:
        config = config_of(architecture)
        assert isinstance(config, ViTConfig)
        for batch in batches:
            for job in _block_jobs(config, batch):
                if (shape := (job.operator, job.rows, job.columns, job.depth, job.detail)) not in seen:
                    seen.add(shape)
                    yield job


def _block_jobs(config: ViTConfig, batch: int) -> list[Job]:
    rows, dim, hidden = batch * config.tokens, config.dim, config.mlp_dim
    contracted = hidden // 2 if config.feedforward == "swiglu" else hidden
    return [
        Job("linear", rows, hidden, dim, config.feedforward, config, batch),
        Job("linear", rows, dim, contracted, "none", config, batch),
        Job("linear", rows, 3 * dim, dim, "none", config, batch),
        Job("linear", rows, dim, dim, "none", config, batch),
        Job("attention", config.tokens, dim // config.heads, 0, "none", config, max(batch, 8)),
    ]


def _composites(architectures: Sequence[str], batches: Sequence[int]) -> Iterator[tuple[str, ViTConfig, int]]:
    for architecture in architectures:
        config = config_of(architecture)
        assert isinstance(config, ViTConfig)
        for batch in batches:
            for composite in COMPOSITES:
                yield composite, config, batch


def _fastest(job: Job, table: Table, gpu: Gpu, dtype: torch.dtype, device: torch.device, clock: Clock) -> Tile:
    """Of the candidates that compile and are right; the heuristic's where none is quicker."""
    from triton.errors import TritonError

    table.entries.pop(job.key(dtype), None)
    make_run, reference = _work(job, dtype, device)
    tried = [_heuristic(job, dtype, device)]
    tried += tuning.candidates(job.operator, gpu, job.rows, job.columns, job.depth, dtype.itemsize)
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


def _heuristic(job: Job, dtype: torch.dtype, device: torch.device) -> Tile:
    if job.operator == "attention":
        return tuning.attention(job.rows, job.columns, dtype, device)
    return tuning.linear(job.rows, job.columns, job.depth, dtype, device, False, job.detail)


def _work(
    job: Job, dtype: torch.dtype, device: torch.device
) -> tuple[Callable[[], Callable[[], torch.Tensor]], torch.Tensor]:
    """A maker of runs, each with buffers of its own, and the result they must have."""
    if job.operator == "attention":
        qkv = torch.randn(job.batch, job.rows, 3 * job.config.dim, device=device).to(dtype)

        def attend() -> Callable[[], torch.Tensor]:
            options = Options("triton", workspace=Workspace())
            return lambda: attention(qkv, job.config.heads, options=options)

        return attend, attention(qkv.float(), job.config.heads, options=Options("torch"))
    x = torch.randn(job.rows, job.depth, device=device).to(dtype)
    weight = (torch.randn(job.columns, job.depth, device=device) / job.depth**0.5).to(dtype)
    weights = LinearWeights(weight, torch.randn(job.columns, device=device))
    wide = LinearWeights(weight.float(), weights.bias)
    residual = None
    if job.detail == "none" and job.columns == job.config.dim:
        residual = torch.randn(job.rows, job.columns, device=device).to(dtype)

    def multiply() -> Callable[[], torch.Tensor]:
        options, statistics = Options("triton", workspace=Workspace()), residual is not None
        return lambda: linear(
            x, weights, activation=job.detail, residual=residual, statistics=statistics, options=options
        )[0]

    expected = linear(x.float(), wide, activation=job.detail, options=Options("torch"))[0]
    return multiply, expected if residual is None else expected + residual.float()


def _right(found: torch.Tensor, expected: torch.Tensor, dtype: torch.dtype) -> bool:
    error = (found.float() - expected).norm() / expected.norm()
    return bool(error < _TOLERANCE[dtype])  # false for NaN too


def _quicker(
    composite: str, config: ViTConfig, batch: int, dtype: torch.dtype, device: torch.device, clock: Clock
) -> str:
    half = make(composite, config, batch, dtype, device)
    with torch.inference_mode():
        return "triton" if clock([half.triton()]) <= clock([half.torch()]) else "torch"
