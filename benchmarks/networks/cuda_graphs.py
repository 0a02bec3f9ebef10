"""Network benchmark on a GPU, each network in a CUDA graph: the folded one beside the published, eager and compiled.

Random weights. `tessella bench models` compares with timm's networks; this needs no package but torch.
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
from ..report import ResultsTable, dtype_name, raise_error
from ..roofline import Ceiling, bound, config_of

if TYPE_CHECKING:  # rich is optional on a machine with a GPU
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
"""`triton` runs our kernels only; `auto`, as in serving, takes PyTorch where tuning found it faster."""
MEAN = STD = (0.5, 0.5, 0.5)


@dataclass(frozen=True, slots=True)
class Row:
    """Measurement of one provider.

    Attributes:
        tflops: of the published arithmetic, in TFLOP/s; `rate`: relative to the matrix rate measured in the same run.
        roofline: minimum time by measured time, 0 to 1.
        error: relative rms error against float64.
    """

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
    timer: Callable[[Sequence[Callable[[], object]]], float] = cuda_timer.median_seconds,
    progress: Callable[[str], object] = lambda _: None,
    on_error: Callable[[str, Exception], object] = raise_error,
) -> tuple[list[Row], list[str]]:
    """Measure the rows that `results` lacks, within `budget` seconds, and append each to it as it is measured.

    Args:
        timer: median seconds of one of several equal runs.
        progress: called with the name of each measurement before it starts.
        on_error: called with the name and the error of a failed measurement; the default raises it.

    Returns:
        All rows, and the names of measurements that the budget did not reach.
    """
    measured = ResultsTable(Row, results)
    end, remaining = time.monotonic() + budget, []
    mixed = tables.prefers_torch(gpu_of(device), dtype)  # else `auto` is `triton`
    for architecture, batch in ((name, batch) for name in architectures for batch in batches):
        for provider in providers:
            if (architecture, batch, dtype_name(dtype), provider) in measured.known_keys or (
                provider == "auto" and not mixed
            ):
                continue
            name = f"{provider} {architecture} at batch {batch}"
            if time.monotonic() > end:
                remaining.append(name)
                continue
            progress(name)
            try:
                row = _row(architecture, batch, provider, dtype, device, ceiling, timer)
            except Exception as error:
                on_error(name, error)
                continue
            measured.append(row)
    return measured.rows, remaining


def providers_of(network: ViT | TNT, dtype: torch.dtype, device: torch.device) -> dict[str, Callable[[], Forward]]:
    """Factories of forward passes over uint8 (B, H, W, 3), all with the same weights."""

    def folded(implementation: Implementation) -> Forward:
        executor = make_factory(network, MEAN, STD, dtype=dtype, device=device, options=Options(implementation))
        assert executor is not None
        run, options = executor
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
    timer: Callable[..., float],
) -> Row:
    network, config = _network(architecture)
    size = config.image_size
    inputs = [torch.randint(0, 256, (batch, size, size, 3), dtype=torch.uint8, device=device) for _ in range(2)]
    with torch.inference_mode():
        run = providers_of(network, dtype, device)[provider]()
        exact = providers_of(network.double(), torch.float64, device)["eager"]()(inputs[0][:4])
        error = relative_error(run(inputs[0])[:4], exact)
        seconds = timer([partial(run, pixels) for pixels in inputs])
        launch_count = launches(partial(run, inputs[0]))
    limit = bound(config, batch, ceiling, itemsize=dtype.itemsize)
    return Row(
        architecture=architecture,
        batch=batch,
        dtype=dtype_name(dtype),
        provider=provider,
        milliseconds=seconds * 1e3,
        images_per_second=batch / seconds,
        tflops=limit.flops / seconds / 1e12,
        rate=limit.flops / seconds / ceiling.flops_per_second,
        gigabytes_per_second=limit.bytes / seconds / 1e9,
        roofline=limit.seconds / seconds,
        launches=launch_count,
        error=error,
    )


def _network(architecture: str) -> tuple[ViT | TNT, Config]:
    config = config_of(architecture)
    torch.manual_seed(0)
    return build(config).eval(), config


def table(rows: Sequence[Row]) -> "Table":
    """Table of the rows for the terminal."""
    from rich.table import Table

    result = Table(
        "architecture",
        "batch",
        "provider",
        "ms",
        "images/s",
        "TFLOP/s",
        "GB/s",
        "% of matrix rate",
        "% of roofline",
        "launches",
        "error",
    )
    for row in sorted(rows, key=lambda row: row.key):
        figures = (f"{row.milliseconds:.3f}", f"{row.images_per_second:,.0f}", f"{row.tflops:.0f}")
        shares = (f"{row.gigabytes_per_second:.0f}", f"{row.rate:.0%}", f"{row.roofline:.0%}")
        result.add_row(
            row.architecture, str(row.batch), row.provider, *figures, *shares, str(row.launches), f"{row.error:.1e}"
        )
    return result
