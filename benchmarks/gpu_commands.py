"""`tessella bench kernels` and `tessella tune`: what needs a GPU, and says so where there is none."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:  # --help need not wait for it
    import torch

messages = Console(stderr=True)

Architectures = Annotated[list[str] | None, typer.Option("--architecture", help="timm's name; repeat for several")]
Batches = Annotated[list[int] | None, typer.Option("--batch-size", min=1, help="repeat  [1, 8, 32, 64, 128, 256]")]
Device = Annotated[str, typer.Option(help="cuda:0")]
Dtype = Annotated[str, typer.Option(help="bfloat16 or float16")]
Seconds = Annotated[float, typer.Option(help="in all; what is not reached is listed")]


def bench_kernels(
    architecture: Architectures = None,
    batch_size: Batches = None,
    provider: Annotated[
        list[str] | None, typer.Option(help="triton, torch, compiled, max-autotune; repeat  [all]")
    ] = None,
    device: Device = "cuda:0",
    dtype: Dtype = "bfloat16",
    seconds: Seconds = 600,
    results: Annotated[Path | None, typer.Option(help="a file that rows are added to; those in it are kept")] = None,
    roofline: Annotated[
        str | None, typer.Option(help="on any machine: only the floors on a GPU: a100, h100, h200, b200, l4, rtx4090")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="draws a picture: .png, .svg or .pdf")] = None,
    as_json: Annotated[Path | None, typer.Option("--json", help="write the document here, not to stdout")] = None,
) -> None:
    """Our operators beside PyTorch's, eager and compiled, each checked, then timed: a table, then one JSON document."""
    if roofline:
        _print_floors(roofline, architecture, batch_size)
        return
    from . import gpu_clock, kernels
    from .report import write

    place = _gpu(device, "`tessella bench kernels --roofline h200` prints the floors on any machine")
    if unknown := set(provider or ()) - set(kernels.PROVIDERS):
        raise ValueError(f"provider {min(unknown)!r} is not one of {', '.join(kernels.PROVIDERS)}")
    with messages.status("measuring what this GPU can do") as status:
        ceiling = gpu_clock.ceiling()
        rows, left = kernels.measure(
            place,
            ceiling,
            architectures=architecture or kernels.ARCHITECTURES,
            batches=batch_size or kernels.BATCHES,
            dtype=_dtype(dtype),
            providers=provider or kernels.PROVIDERS,
            results=results,
            budget=seconds,
            progress=lambda text: status.update(escape(text)),
        )
    messages.print(kernels.table(rows))
    _print_left(left)
    document = kernels.document(rows, ceiling, device)
    write(document, as_json)
    if plot:
        from .plots import PlotUnavailable, draw_kernels

        try:
            draw_kernels(document, plot)
        except PlotUnavailable as error:
            messages.print(f"[yellow]warning:[/yellow] {escape(str(error))}", highlight=False)


def tune(
    architecture: Architectures = None,
    batch_size: Batches = None,
    device: Device = "cuda:0",
    dtype: Dtype = "bfloat16",
    seconds: Seconds = 600,
) -> None:
    """Measure launch configurations on this GPU and write its table, which counts from the next start on."""
    from ..kernels.device import gpu_of
    from ..kernels.tuning import tables
    from . import tune as tuner

    place = _gpu(device, "without a table a heuristic chooses")
    with messages.status("tuning") as status:
        left = tuner.tune(
            place,
            architectures=architecture or tuner.ARCHITECTURES,
            batches=batch_size or tuner.BATCHES,
            dtype=_dtype(dtype),
            budget=seconds,
            progress=lambda text: status.update(escape(text)),
        )
    gpu = gpu_of(place)
    table = tables.of(gpu)
    assert table is not None
    messages.print(
        f"{tables.path_of(gpu)}: {len(table.entries)} configurations and {len(table.choices)} choices for {gpu.name}",
        highlight=False,
        soft_wrap=True,
    )
    _print_left(left)


def _gpu(device: str, instead: str) -> "torch.device":
    """
    Raises:
        ValueError: our kernels cannot run there; it says why, and what there is instead.
    """
    import torch

    from ..kernels.device import unavailable

    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device {device!r} is not one of cuda, cuda:0, …") from error
    reason = unavailable(place) if place.type == "cuda" else f"it measures an NVIDIA GPU, and the device is {device!r}"
    if reason is None and (place.index or 0) >= torch.cuda.device_count():
        reason = f"there is no {device}, only {torch.cuda.device_count()} GPUs"
    if reason is not None:
        raise ValueError(f"this cannot run here: {reason}; {instead}")
    torch.cuda.set_device(place)
    return place


def _dtype(name: str) -> "torch.dtype":
    from ..models.execution.dtype import DTYPES

    if name == "float32":
        raise ValueError("dtype 'float32' is neither bfloat16 nor float16: a GPU takes PyTorch's products for it")
    if name not in DTYPES:
        raise ValueError(f"dtype {name!r} is not one of bfloat16, float16")
    return DTYPES[name]


def _print_floors(gpu: str, architectures: list[str] | None, batches: list[int] | None) -> None:
    from . import kernels, roofline

    ceiling = roofline.ceiling_of(gpu)
    for architecture in architectures or kernels.ARCHITECTURES:
        messages.print(roofline.table(architecture, tuple(batches or sorted(kernels.BATCHES)), ceiling))


def _print_left(left: list[str]) -> None:
    if left:
        messages.print(f"not reached in time: {len(left)}", *map(escape, left), sep="\n  ", highlight=False)
