"""`tessella bench kernels`: composites and operators, ours beside eager and compiled PyTorch: checked, then timed."""

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
from ..report import ResultsTable, circumstances, dtype_name, give_up
from ..roofline import Ceiling, config_of
from . import block_halves, cuda_timer, operators, resize

if TYPE_CHECKING:  # a machine with a GPU need not have rich
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
    """What is measured: halves.Half, operators.Operator, resize.Resize."""

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
    """`error`: rms difference from float64 over its rms; `torch_error`: eager PyTorch's. `roofline`: floor by time."""

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


class WrongResult(AssertionError):
    """A provider errs more than half as much again as PyTorch does; it is not timed."""


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

    Raises:
        WrongResult: a provider does not compute what it should.
    """
    measured = ResultsTable(Row, results)
    end, left = time.monotonic() + budget, []
    for architecture, batch in product(architectures, batches):
        config = config_of(architecture)
        for operator in operators_of(config):
            key = architecture, batch, dtype_name(dtype)
            missing = [one for one in providers if (operator, *key, one) not in measured.known]
            name = f"{operator} of {architecture} at batch {batch}"
            if not missing:
                continue
            if time.monotonic() > end:
                left.append(name)
                continue
            progress(name)
            try:
                work = _work(operator, config, batch, dtype, device)
                for row in _rows(work, architecture, missing, ceiling, clock):
                    measured.append(row)
            except Exception as error:
                failed(name, error)
    return measured.rows, left


def operators_of(config: Config) -> tuple[str, ...]:
    """What is measured of a network: the composites first; of a TNT, what its outer stack does not share with a ViT."""
    if isinstance(config, ViTConfig):
        return (*block_halves.COMPOSITES, *operators.names_of(config), resize.NAME)
    return operators.names_of(config)


def _work(operator: str, config: Config, batch: int, dtype: torch.dtype, device: torch.device) -> Work:
    if operator in block_halves.COMPOSITES:
        assert isinstance(config, ViTConfig)
        return block_halves.make(operator, config, batch, dtype, device)
    if operator == resize.NAME:
        return resize.make(config.image_size, batch, dtype, device)
    return operators.make(operator, config, batch, dtype, device)


def _providers(work: Work) -> dict[str, Maker]:
    def compiled(mode: str | None) -> Callable[[], Tensor]:
        quick = torch.compile(work.torch(), mode=mode, dynamic=False)
        return lambda: quick()

    return {
        "triton": work.triton,
        "torch": work.torch,
        "compiled": lambda: compiled(None),
        "max-autotune": lambda: compiled("max-autotune-no-cudagraphs"),
    }


def _rows(
    work: Work, architecture: str, providers: Iterable[str], ceiling: Ceiling, clock: Callable[..., float]
) -> Iterable[Row]:
    makers = _providers(work)
    with torch.inference_mode():
        expected = work.reference()
        torch_error = relative_error(work.torch()(), expected)
        for provider in providers:
            run = makers[provider]()
            error = relative_error(run(), expected)
            if not error <= 1.5 * torch_error + 1e-6:
                raise WrongResult(
                    f"{provider} {work.name} of {architecture} at batch {work.batch} errs {error:.2e}, "
                    f"PyTorch {torch_error:.2e}"
                )
            taken = clock([run] if provider in COMPILED else [run, makers[provider]()])
            floor = max(2 * work.macs() / ceiling.operations, work.bytes() / ceiling.bytes)
            yield Row(
                operator=work.name,
                architecture=architecture,
                batch=work.batch,
                dtype=dtype_name(work.dtype),
                provider=provider,
                microseconds=taken * 1e6,
                tflops=2 * work.macs() / taken / 1e12,
                gigabytes_per_second=work.bytes() / taken / 1e9,
                roofline=floor / taken,
                launches=launches(run),
                error=error,
                torch_error=torch_error,
            )


def relative_error(found: Tensor, expected: Tensor) -> float:
    """rms of the difference over rms of what was expected; NaN where anything is NaN."""
    return float((found.double() - expected).norm() / expected.norm())


def launches(run: Callable[[], object]) -> int:
    """Kernels that one run starts on the GPU."""
    if not torch.cuda.is_available():
        return 0
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        run()
        torch.cuda.synchronize()
    return sum(event.device_type.name == "CUDA" for event in profiler.events() or ())


def document(rows: Sequence[Row], ceiling: Ceiling, device: str) -> dict[str, Any]:
    """For machines: circumstances, ceilings, rows."""
    return {
        "benchmark": "kernels",
        **circumstances(device),
        "ceiling": asdict(ceiling),
        "rows": [asdict(row) for row in rows],
    }


def table(rows: Sequence[Row]) -> "Table":
    """For people: the fastest provider of each shape is the one to beat."""
    from rich.table import Table

    made = Table(
        "operator", "architecture", "batch", "provider", "µs", "TFLOP/s", "GB/s", "of floor", "launches", "error"
    )
    for row in sorted(rows, key=lambda row: row.key):
        made.add_row(
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
    return made
