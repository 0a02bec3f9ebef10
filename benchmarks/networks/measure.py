"""Network benchmark (`tessella bench models`): tessella's networks beside timm's; checked, then timed, interleaved."""

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
from ..report import environment
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
    """Measurement of one candidate at one batch size."""

    architecture: str
    batch_size: int
    candidate: str
    images_per_second: float
    milliseconds: float
    spread: float
    ratio: float
    """Speed relative to timm's fastest candidate at this batch size."""
    macs_per_second: float
    """Multiply-accumulates of the published network per second; a folded network needs fewer for the same logits."""
    error: float
    """Relative rms difference from timm's float32 logits."""


class LogitsMismatch(AssertionError):
    """Logits of a candidate differ from timm's; nothing is timed."""


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
    """Measure each architecture at each batch size; about `seconds` each.

    Args:
        dtypes: default: float32, and bfloat16 where the device has instructions for it.
        engines: as in `make_candidates`.
        progress: called before each step with its description and the completed fraction of the run, 0 to 1.

    Returns:
        A JSON document: the environment and one object per row, with `of_matrix_rate`: its multiply-accumulates per
        second relative to those of a matrix product in the same dtype in this run.

    Raises:
        LogitsMismatch: a candidate's logits differ from timm's.
        ValueError: unknown architecture or engine.
    """
    limit_threads()
    selected = dtypes or (("float32", "bfloat16") if device != "cpu" or has_bfloat16() else ("float32",))
    rates = dict.fromkeys(selected, 0.0)
    rows: list[Row] = []
    steps = (1 + len(batch_sizes)) * len(architectures)
    for number, architecture in enumerate(architectures):
        completed = number / len(architectures)
        progress(f"{architecture}: building, comparing logits", completed)
        rates = {name: max(rate, measure_matrix_rate(device=device, dtype=name) / 2) for name, rate in rates.items()}
        candidates = make_candidates(architecture, [getattr(torch, name) for name in selected], device, engines)
        errors = compare(candidates, _pixels(2, device))
        for index, batch_size in enumerate(batch_sizes, 1):
            progress(f"{architecture}: timing at batch {batch_size}", completed + index / steps)
            rows += _time(architecture, candidates, errors, _pixels(batch_size, device), seconds)
    return {
        "benchmark": "models",
        "on": device.partition(":")[0],
        **environment(device),
        "versions": {name: version(name) for name in ENGINE_PACKAGES if installed(name)},
        "matrix_rates": rates,
        "rows": [
            asdict(row) | {"of_matrix_rate": row.macs_per_second / rates[row.candidate.split()[2]]} for row in rows
        ],
    }


def compare(candidates: dict[str, Forward], pixels: Tensor) -> dict[str, float]:
    """Relative rms error of each candidate against the first one, which is timm's eager float32.

    Raises:
        LogitsMismatch: a float32 candidate differs by more than `FLOAT32_TOLERANCE` anywhere, or another one has a
            relative error of 0.1 or more.
    """
    reference = next(iter(candidates.values()))(pixels)
    errors = {}
    for name, candidate in candidates.items():
        difference = candidate(pixels) - reference
        errors[name] = float(difference.square().mean().sqrt() / reference.square().mean().sqrt())
        largest = float(difference.abs().max())
        if largest > FLOAT32_TOLERANCE if name.endswith("float32") else not errors[name] < 0.1:
            raise LogitsMismatch(
                f"{name}: logits differ from timm's by {largest:.1e} (relative rms {errors[name]:.1e})"
            )
    return errors


def _time(
    architecture: str,
    candidates: dict[str, Forward],
    errors: dict[str, float],
    pixels: Tensor,
    seconds: float,
) -> list[Row]:
    synchronise, settle_calls = (
        (torch.cuda.synchronize, 0) if pixels.is_cuda else (lambda: None, 2 if len(pixels) == 1 else 1)
    )
    calls = {name: partial(candidate, pixels) for name, candidate in candidates.items()}
    timings = interleave(calls, seconds=seconds, settle_calls=settle_calls, synchronise=synchronise)
    fastest_timm = min(timing.median for name, timing in timings.items() if not name.startswith("tessella"))
    return [
        Row(
            architecture=architecture,
            batch_size=len(pixels),
            candidate=name,
            images_per_second=len(pixels) / timing.median,
            milliseconds=timing.median * 1e3,
            spread=timing.spread,
            ratio=fastest_timm / timing.median,
            macs_per_second=macs(VARIANTS[architecture]) * len(pixels) / timing.median,
            error=errors[name],
        )
        for name, timing in timings.items()
    ]


def _pixels(batch_size: int, device: str) -> Tensor:
    generator = torch.Generator().manual_seed(batch_size)
    return torch.randint(0, 256, (batch_size, 224, 224, 3), dtype=torch.uint8, generator=generator).to(device)


def table(document: dict[str, Any]) -> Table:
    """Table of the document for the terminal."""
    title = f"{document['device']}, {document['threads']} threads, torch {document['torch']}"
    result = Table(
        "network",
        "batch",
        "candidate",
        "images/s",
        "ms",
        "spread",
        "× fastest timm",
        "% of matrix rate",
        "error",
        title=title,
    )
    for row in document["rows"]:
        result.add_row(
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
    return result
