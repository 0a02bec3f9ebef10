"""`tessella bench models`: whole networks, ours beside timm's. Correct first, then timed in turns."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from rich.table import Table
from torch import Tensor

from ...models.costs import macs
from ...models.cpu import has_bfloat16
from ...models.eager_baseline import measure_matrix_rate
from ...models.execution.cuda_graphs import Forward
from ...models.execution.dtype import limit_threads
from ...models.packages import installed, version
from ...models.variants import VARIANTS
from ..report import circumstances
from ..timing import interleave
from .candidates import make_candidates

DEFAULT_ARCHITECTURES = (
    "vit_tiny_patch16_224",
    "vit_small_patch16_224",
    "vit_base_patch16_224",
    "deit_small_patch16_224",
    "tnt_s_patch16_224",
)
ENGINE_PACKAGES = ("timm", "onnxruntime", "openvino")
FLOAT32_TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class Row:
    """One candidate at one batch size. `error`: rms difference from timm's float32 logits over their rms."""

    architecture: str
    batch_size: int
    candidate: str
    images_per_second: float
    milliseconds: float
    spread: float
    ratio: float
    """To the fastest of timm's at this batch size."""
    macs_per_second: float
    """Multiplications of the published network: ours makes fewer for the same answer."""
    error: float


class WrongLogits(AssertionError):
    """A candidate does not compute what the others do; it is not timed."""


def measure(
    architectures: Sequence[str],
    batch_sizes: Sequence[int],
    *,
    device: str = "cpu",
    dtypes: Sequence[str] = (),
    seconds: float = 10,
    engines: Sequence[str] = (),
    progress: Callable[[str, float], object] = lambda *_: None,
) -> dict[str, Any]:
    """Measures each architecture at each batch size; about `seconds` each.

    Args:
        dtypes: default: float32, and bfloat16 where the device multiplies it.
        engines: as `make_candidates`.
        progress: is told what comes next, and which part of the whole is done.

    Returns:
        A JSON document: the circumstances and one object per row, with `of_matrix_rate`: its multiplications as a part
        of what one product of matrices reached in the same dtype in this run.

    Raises:
        WrongLogits: ours are not timm's.
        ValueError: an unknown architecture.
    """
    limit_threads()
    chosen = dtypes or (("float32", "bfloat16") if device != "cpu" or has_bfloat16() else ("float32",))
    rates = dict.fromkeys(chosen, 0.0)
    rows: list[Row] = []
    parts = (1 + len(batch_sizes)) * len(architectures)
    for number, architecture in enumerate(architectures):
        done = number / len(architectures)
        progress(f"{architecture}: building, comparing logits", done)
        rates = {name: max(rate, measure_matrix_rate(device=device, dtype=name) / 2) for name, rate in rates.items()}
        candidates = make_candidates(architecture, [getattr(torch, name) for name in chosen], device, engines)
        errors = compare(candidates, _pixels(2, device))
        for index, batch_size in enumerate(batch_sizes, 1):
            progress(f"{architecture}: timing at batch {batch_size}", done + index / parts)
            rows += _time(architecture, candidates, errors, _pixels(batch_size, device), seconds)
    return {
        "benchmark": "models",
        "on": device.partition(":")[0],
        **circumstances(device),
        "versions": {name: version(name) for name in ENGINE_PACKAGES if installed(name)},
        "matrix_rates": rates,
        "rows": [
            asdict(row) | {"of_matrix_rate": row.macs_per_second / rates[row.candidate.split()[2]]} for row in rows
        ],
    }


def compare(candidates: dict[str, Forward], pixels: Tensor) -> dict[str, float]:
    """Each candidate's error against the first one, which is timm's float32.

    Raises:
        WrongLogits: a float32 candidate differs by more than `FLOAT32_TOLERANCE` anywhere, or another by a tenth.
    """
    reference = next(iter(candidates.values()))(pixels)
    errors = {}
    for name, candidate in candidates.items():
        difference = candidate(pixels) - reference
        errors[name] = float(difference.square().mean().sqrt() / reference.square().mean().sqrt())
        largest = float(difference.abs().max())
        if largest > FLOAT32_TOLERANCE if name.endswith("float32") else not errors[name] < 0.1:
            raise WrongLogits(f"{name}: logits differ from timm's by {largest:.1e} (relative rms {errors[name]:.1e})")
    return errors


def _time(
    architecture: str,
    candidates: dict[str, Forward],
    errors: dict[str, float],
    pixels: Tensor,
    seconds: float,
) -> list[Row]:
    synchronise, settling = (
        (torch.cuda.synchronize, 0) if pixels.is_cuda else (lambda: None, 2 if len(pixels) == 1 else 1)
    )
    calls = {name: partial(candidate, pixels) for name, candidate in candidates.items()}
    timings = interleave(calls, seconds=seconds, settling=settling, synchronise=synchronise)
    best_peer = min(timing.median for name, timing in timings.items() if not name.startswith("tessella"))
    return [
        Row(
            architecture=architecture,
            batch_size=len(pixels),
            candidate=name,
            images_per_second=len(pixels) / timing.median,
            milliseconds=timing.median * 1e3,
            spread=timing.spread,
            ratio=best_peer / timing.median,
            macs_per_second=macs(VARIANTS[architecture]) * len(pixels) / timing.median,
            error=errors[name],
        )
        for name, timing in timings.items()
    ]


def _pixels(batch_size: int, device: str) -> Tensor:
    generator = torch.Generator().manual_seed(batch_size)
    return torch.randint(0, 256, (batch_size, 224, 224, 3), dtype=torch.uint8, generator=generator).to(device)


def table(document: dict[str, Any]) -> Table:
    """The document for people."""
    title = f"{document['device']}, {document['threads']} threads, torch {document['torch']}"
    made = Table(
        "network",
        "batch",
        "candidate",
        "images/s",
        "ms",
        "spread",
        "× best timm",
        "% of matrix rate",
        "error",
        title=title,
    )
    for row in document["rows"]:
        made.add_row(
            row["architecture"],
            str(row["batch_size"]),
            row["candidate"],
            f"{row['images_per_second']:.1f}",
            f"{row['milliseconds']:.1f}",
            f"±{row['spread']:.0%}",
            f"{row['ratio']:.2f}",
            f"{row['of_matrix_rate']:.0%}",
            f"{row['error']:.0e}" if row["error"] else "0",
        )
    return made
