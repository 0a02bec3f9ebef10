"""Whole networks on a GPU, each in a CUDA graph: the folded one beside the published one, eager and compiled.

Random weights; `tessella bench models` compares with timm's own networks, here nothing but torch is needed.
"""

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ...kernels.device import gpu_of
from ...kernels.options import Implementation, Options, Workspace
from ...kernels.tuning import tables
from ...models.config import Config
from ...models.execution.cuda_graphs import Forward
from ...models.execution.executor import make_factory
from ...models.networks.build import NormalizedNetwork, build
from ...models.networks.tnt import TNT
from ...models.networks.vit import ViT
from ..operators import cuda_timer
from ..operators.measure import launches, relative_error
from ..report import ResultsTable, dtype_name, give_up
from ..roofline import Ceiling, config_of, floor

if TYPE_CHECKING:  # a machine with a GPU need not have rich
    from rich.table import Table

ARCHITECTURES = (
    "vit_base_patch16_224",
    "tnt_s_patch16_224",
    "deit_small_patch16_224",
    "tnt_b_patch16_224",
    "vit_large_patch16_224",
)
BATCHES = (256, 1, 128, 8, 64, 32)
PROVIDERS = ("triton", "auto", "eager", "compiled", "max-autotune")
"""`triton` is all ours; `auto`, as networks are served, takes PyTorch for what it was measured to run quicker."""
MEAN = STD = (0.5, 0.5, 0.5)


@dataclass(frozen=True, slots=True)
class Row:
    """`tflops` and `rate` (share of the matrix rate measured in the same run) count the published operations."""

    architecture: str
    batch: int
    dtype: str
    provider: str
    milliseconds: float
    images_per_second: float
    tflops: float
    rate: float
    gigabytes_per_second: float
    roofline: float
    launches: int
    error: float

    @property
    def key(self) -> tuple[str, int, str, str]:
        return self.architecture, self.batch, self.dtype, self.provider


def measure(
    device: torch.device,
    ceiling: Ceiling,
    *,
    architectures: Sequence[str] = ARCHITECTURES,
    batches: Sequence[int] = BATCHES,
    dtype: torch.dtype = torch.bfloat16,
    providers: Sequence[str] = PROVIDERS,
    results: Path | None = None,
    budget: float = 600,
    clock: Callable[[Sequence[Callable[[], object]]], float] = cuda_timer.seconds,
    progress: Callable[[str], object] = lambda _: None,
    failed: Callable[[str, Exception], object] = give_up,
) -> tuple[list[Row], list[str]]:
    """Measures what `results` does not hold yet, within `budget` seconds, and appends each row to it as a line.

    Args:
        failed: told of what cannot be measured, by default raises it; with all others it goes on.

    Returns:
        All rows, and what was not reached.
    """
    measured = ResultsTable(Row, results)
    end, left = time.monotonic() + budget, []
    mixed = tables.prefers_torch(gpu_of(device), dtype)  # else `auto` is `triton`
    for architecture, batch in ((name, batch) for name in architectures for batch in batches):
        for provider in providers:
            if (architecture, batch, dtype_name(dtype), provider) in measured.known or (
                provider == "auto" and not mixed
            ):
                continue
            name = f"{provider} {architecture} at batch {batch}"
            if time.monotonic() > end:
                left.append(name)
                continue
            progress(name)
            try:
                row = _row(architecture, batch, provider, dtype, device, ceiling, clock)
            except Exception as error:
                failed(name, error)
                continue
            measured.append(row)
    return measured.rows, left


def providers_of(network: ViT | TNT, dtype: torch.dtype, device: torch.device) -> dict[str, Callable[[], Forward]]:
    """Makers of forward passes over uint8 (B, H, W, 3), all with the same weights."""

    def folded(implementation: Implementation) -> Forward:
        made = make_factory(network, MEAN, STD, dtype=dtype, device=device, options=Options(implementation))
        assert made is not None
        run, options = made
        return run(replace(options, workspace=Workspace()))

    eager = NormalizedNetwork(copy.deepcopy(network).to(device=device, dtype=dtype), MEAN, STD).eval()

    return {
        "triton": lambda: folded("triton"),
        "auto": lambda: folded("auto"),
        "eager": lambda: eager,
        "compiled": lambda: torch.compile(eager, dynamic=False),
        "max-autotune": lambda: torch.compile(eager, mode="max-autotune-no-cudagraphs", dynamic=False),
    }


def _row(
    architecture: str,
    batch: int,
    provider: str,
    dtype: torch.dtype,
    device: torch.device,
    ceiling: Ceiling,
    clock: Callable[..., float],
) -> Row:
    network, config = _network(architecture)
    size = config.image_size
    inputs = [torch.randint(0, 256, (batch, size, size, 3), dtype=torch.uint8, device=device) for _ in range(2)]
    with torch.inference_mode():
        run = providers_of(network, dtype, device)[provider]()
        few = inputs[0][:4]
        exact = providers_of(network.double(), torch.float64, device)["eager"]()(few)
        error = relative_error(run(inputs[0])[:4], exact)
        taken = clock([partial(run, pixels) for pixels in inputs])
        counted = launches(partial(run, inputs[0]))
    least = floor(config, batch, ceiling, itemsize=dtype.itemsize)
    return Row(
        architecture=architecture,
        batch=batch,
        dtype=dtype_name(dtype),
        provider=provider,
        milliseconds=taken * 1e3,
        images_per_second=batch / taken,
        tflops=least.operations / taken / 1e12,
        rate=least.operations / taken / ceiling.operations,
        gigabytes_per_second=least.bytes / taken / 1e9,
        roofline=least.seconds / taken,
        launches=counted,
        error=error,
    )


def _network(architecture: str) -> tuple[ViT | TNT, Config]:
    config = config_of(architecture)
    torch.manual_seed(0)
    return build(config).eval(), config


def table(rows: Sequence[Row]) -> "Table":
    """For people."""
    from rich.table import Table

    made = Table(
        "architecture",
        "batch",
        "provider",
        "ms",
        "images/s",
        "TFLOP/s",
        "GB/s",
        "of matrix rate",
        "of floor",
        "launches",
        "error",
    )
    for row in sorted(rows, key=lambda row: row.key):
        figures = (f"{row.milliseconds:.3f}", f"{row.images_per_second:,.0f}", f"{row.tflops:.0f}")
        shares = (f"{row.gigabytes_per_second:.0f}", f"{row.rate:.0%}", f"{row.roofline:.0%}")
        made.add_row(
            row.architecture, str(row.batch), row.provider, *figures, *shares, str(row.launches), f"{row.error:.1e}"
        )
    return made
