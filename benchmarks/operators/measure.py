"""Operator benchmark (`tessella bench kernels`): Triton beside eager and compiled PyTorch; checked, then timed."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from ...models.config import Config, ViTConfig
from ..report import ResultsTable, dtype_name, environment, raise_error
from ..roofline import Ceiling, config_of
from . import cuda_timer, operators, resize, sub_blocks

if TYPE_CHECKING:  # rich is optional on a machine with a GPU
    from rich.table import Table

ARCHITECTURES = (
    "vit_base_patch16_224",
    "tnt_s_patch16_224",
    "vit_small_patch16_224",
    "vit_large_patch16_224",
    "tnt_b_patch16_224",
)
BATCHES = (256, 1, 64, 8, 32, 128)
COMPILED = ("compiled", "max-autotune")
PROVIDERS = ("triton", "torch", *COMPILED)

Dtype = torch.dtype
Maker = Callable[[], Callable[[], Tensor]]


class Work(Protocol):
    """Unit of work that is measured: `SubBlock`, `Operator` or `Resize`."""

    @property
    def name(self) -> str: ...
    @property
    def batch(self) -> int: ...
    @property
    def dtype(self) -> Dtype: ...
    def triton(self) -> Callable[[], Tensor]: ...
    def torch(self) -> Callable[[], Tensor]: ...
    def reference(self) -> Tensor: ...
    def macs(self) -> int: ...
    def bytes(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Row:
    """Measurement of one provider.

    Attributes:
        roofline: minimum time by measured time, 0 to 1.
        error: relative rms error against float64; `torch_error`: that of eager PyTorch.
    """

    operator: str
    architecture: str
    batch: int
    dtype: str
    provider: str
    microseconds: float
    tflops: float
    gigabytes_per_second: float
    roofline: float
    launches: int
    error: float
    torch_error: float

    @property
    def key(self) -> tuple[str, str, int, str, str]:
        return self.operator, self.architecture, self.batch, self.dtype, self.provider


class ResultMismatch(AssertionError):
    """Error of a provider above 1.5 times that of eager PyTorch; it is not timed."""


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

    Raises:
        ResultMismatch: a provider computes something else.
    """
    measured = ResultsTable(Row, results)
    end, remaining = time.monotonic() + budget, []
    for architecture, batch in product(architectures, batches):
        config = config_of(architecture)
        for operator in operators_of(config):
            key = architecture, batch, dtype_name(dtype)
            missing = [provider for provider in providers if (operator, *key, provider) not in measured.known_keys]
            name = f"{operator} of {architecture} at batch {batch}"
            if not missing:
                continue
            if time.monotonic() > end:
                remaining.append(name)
                continue
            progress(name)
            try:
                work = _work(operator, config, batch, dtype, device)
                for row in _rows(work, architecture, missing, ceiling, timer):
                    measured.append(row)
            except Exception as error:
                on_error(name, error)
    return measured.rows, remaining


def operators_of(config: Config) -> tuple[str, ...]:
    """Names of a network's operators, sub-blocks first; of a TNT only those that a ViT does not have."""
    if isinstance(config, ViTConfig):
        return (*sub_blocks.COMPOSITES, *operators.names_of(config), resize.NAME)
    return operators.names_of(config)


def _work(operator: str, config: Config, batch: int, dtype: torch.dtype, device: torch.device) -> Work:
    if operator in sub_blocks.COMPOSITES:
        assert isinstance(config, ViTConfig)
        return sub_blocks.make(operator, config, batch, dtype, device)
    if operator == resize.NAME:
        return resize.make(config.image_size, batch, dtype, device)
    return operators.make(operator, config, batch, dtype, device)


def _providers(work: Work) -> dict[str, Maker]:
    def compiled(mode: str | None) -> Callable[[], Tensor]:
        function = torch.compile(work.torch(), mode=mode, dynamic=False)
        return lambda: function()

    return {
        "triton": work.triton,
        "torch": work.torch,
        "compiled": lambda: compiled(None),
        "max-autotune": lambda: compiled("max-autotune-no-cudagraphs"),
    }


def _rows(
    work: Work, architecture: str, providers: Iterable[str], ceiling: Ceiling, timer: Callable[..., float]
) -> Iterable[Row]:
    makers = _providers(work)
    with torch.inference_mode():
        expected = work.reference()
        torch_error = relative_error(work.torch()(), expected)
        for provider in providers:
            run = makers[provider]()
            error = relative_error(run(), expected)
            if not error <= 1.5 * torch_error + 1e-6:
                raise ResultMismatch(
                    f"{provider} {work.name} of {architecture} at batch {work.batch}: relative error {error:.2e}, "
                    f"of PyTorch {torch_error:.2e}"
                )
            seconds = timer([run] if provider in COMPILED else [run, makers[provider]()])
            min_seconds = max(2 * work.macs() / ceiling.flops_per_second, work.bytes() / ceiling.bytes_per_second)
            yield Row(
                operator=work.name,
                architecture=architecture,
                batch=work.batch,
                dtype=dtype_name(work.dtype),
                provider=provider,
                microseconds=seconds * 1e6,
                tflops=2 * work.macs() / seconds / 1e12,
                gigabytes_per_second=work.bytes() / seconds / 1e9,
                roofline=min_seconds / seconds,
                launches=launches(run),
                error=error,
                torch_error=torch_error,
            )


def relative_error(result: Tensor, expected: Tensor) -> float:
    """Relative rms error; NaN where any element is NaN."""
    return float((result.double() - expected).norm() / expected.norm())


def launches(run: Callable[[], object]) -> int:
    """Number of kernels that one run launches on the GPU."""
    if not torch.cuda.is_available():
        return 0
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        run()
        torch.cuda.synchronize()
    return sum(event.device_type.name == "CUDA" for event in profiler.events() or ())


def document(rows: Sequence[Row], ceiling: Ceiling, device: str) -> dict[str, Any]:
    """JSON document: the environment, the ceiling, the rows."""
    return {
        "benchmark": "kernels",
        **environment(device),
        "ceiling": asdict(ceiling),
        "rows": [asdict(row) for row in rows],
    }


def table(rows: Sequence[Row]) -> "Table":
    """Table of the rows for the terminal, sorted by operator."""
    from rich.table import Table

    result = Table(
        *("operator", "architecture", "batch", "provider"),
        *("µs", "TFLOP/s", "GB/s", "% of roofline", "launches", "error"),
    )
    for row in sorted(rows, key=lambda row: row.key):
        result.add_row(
            row.operator,
            row.architecture,
            str(row.batch),
            row.provider,
            f"{row.microseconds:.1f}",
            f"{row.tflops:.0f}",
            f"{row.gigabytes_per_second:.0f}",
            f"{row.roofline:.0%}",
            str(row.launches),
            f"{row.error:.1e}",
        )
    return result
