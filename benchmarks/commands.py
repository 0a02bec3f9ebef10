"""`tessella bench …`: parses, measures, prints. Imports what a command needs only when it runs."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, TimeElapsedColumn

from ..models.packages import require_extra

if TYPE_CHECKING:  # --help need not wait for it
    import torch


messages = Console(stderr=True)

Architectures = Annotated[list[str] | None, typer.Option("--architecture", help="timm's name; repeat for several")]
Batches = Annotated[list[int] | None, typer.Option("--batch-size", min=1, help="repeat  [1, 8, 32, 64, 128, 256]")]
CudaDevice = Annotated[str, typer.Option(help="cuda:0")]
Dtype = Annotated[str, typer.Option(help="bfloat16 or float16")]
Seconds = Annotated[float, typer.Option(help="in all; what is not reached is listed")]


def bench_kernels(
    architecture: Architectures = None,
    batch_size: Batches = None,
    provider: Annotated[
        list[str] | None, typer.Option(help="triton, torch, compiled, max-autotune; repeat  [all]")
    ] = None,
    device: CudaDevice = "cuda:0",
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
    from .operators import cuda_timer, measure
    from .report import write

    place = _gpu(device, "`tessella bench kernels --roofline h200` prints the floors on any machine")
    if unknown := set(provider or ()) - set(measure.PROVIDERS):
        raise ValueError(f"provider {min(unknown)!r} is not one of {', '.join(measure.PROVIDERS)}")
    with messages.status("measuring what this GPU can do") as status:
        ceiling = cuda_timer.ceiling()
        rows, left = measure.measure(
            place,
            ceiling,
            architectures=architecture or measure.ARCHITECTURES,
            batches=batch_size or measure.BATCHES,
            dtype=_dtype(dtype),
            providers=provider or measure.PROVIDERS,
            results=results,
            budget=seconds,
            progress=lambda text: status.update(escape(text)),
        )
    messages.print(measure.table(rows))
    _print_left(left)
    document = measure.document(rows, ceiling, device)
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
    device: CudaDevice = "cuda:0",
    dtype: Dtype = "bfloat16",
    seconds: Seconds = 600,
) -> None:
    """Measure launch configurations on this GPU and write its table, which counts from the next start on."""
    from ..kernels.device import gpu_of
    from ..kernels.tuning import tables
    from .operators import tune as tuner

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
    table = tables.table_for(gpu)
    assert table is not None
    messages.print(
        f"{tables.table_path(gpu)}: {len(table.entries)} configurations and {len(table.choices)} choices "
        f"for {gpu.name}",
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

    from ..kernels.device import unavailable_reason

    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device {device!r} is not one of cuda, cuda:0, …") from error
    reason = (
        unavailable_reason(place)
        if place.type == "cuda"
        else f"it measures an NVIDIA GPU, and the device is {device!r}"
    )
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
    from . import roofline
    from .operators import measure

    ceiling = roofline.ceiling_of(gpu)
    for architecture in architectures or measure.ARCHITECTURES:
        messages.print(roofline.table(architecture, tuple(batches or sorted(measure.BATCHES)), ceiling))


def _print_left(left: list[str]) -> None:
    if left:
        messages.print(f"not reached in time: {len(left)}", *map(escape, left), sep="\n  ", highlight=False)


bench = typer.Typer(help="Measure: a table for people, one JSON document for machines.", no_args_is_help=True)

Device = Annotated[str, typer.Option(help="cpu or cuda:0")]
Plot = Annotated[Path | None, typer.Option(help="draws a picture: .png, .svg or .pdf")]
JsonFile = Annotated[Path | None, typer.Option("--json", help="write the document here, not to stdout")]

bench.command("kernels")(bench_kernels)


@bench.command("models")
def bench_models(
    architecture: Annotated[list[str] | None, typer.Option(help="timm's name of a network; repeat for several")] = None,
    batch_size: Annotated[list[int] | None, typer.Option(min=1, help="repeat for several  [1, 8]")] = None,
    device: Device = "cpu",
    dtype: Annotated[list[str] | None, typer.Option(help="float32, bfloat16, float16  [what the device has]")] = None,
    engine: Annotated[
        list[str] | None, typer.Option(help="eager, compiled, folded, onnxruntime, openvino  [all that are installed]")
    ] = None,
    seconds: Annotated[float, typer.Option(help="per network and batch size")] = 10,
    plot: Plot = None,
    as_json: JsonFile = None,
) -> None:
    """Whole networks, ours beside timm's, in turns on this machine: a table, then one JSON document."""
    with require_extra("bench"):
        from .networks.measure import DEFAULT_ARCHITECTURES, measure, table
        from .plots import draw_models
        from .report import write

    with Progress(*Progress.get_default_columns(), TimeElapsedColumn(), console=messages, transient=True) as bar:
        task = bar.add_task("starting", total=1.0)
        document = measure(
            architecture or DEFAULT_ARCHITECTURES,
            batch_size or (1, 8),
            device=device,
            dtypes=dtype or (),
            seconds=seconds,
            engines=engine or (),
            progress=lambda text, part: bar.update(task, description=escape(text), completed=part),
        )
    messages.print(table(document))
    write(document, as_json)
    _draw(draw_models, document, plot)


@bench.command("words")
def bench_words(
    architecture: Annotated[str, typer.Option(help="timm's name of a TNT")] = "tnt_s_patch16_224",
    batch_size: Annotated[int, typer.Option(min=1)] = 1,
    device: Device = "cpu",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16, float16")] = "float32",
    seconds: Annotated[float, typer.Option(help="in all")] = 10,
    as_json: JsonFile = None,
) -> None:
    """A TNT's inner blocks as published, compiled, a kernel each, and run ahead: bytes moved and time."""
    with require_extra("bench"):
        from .networks.tnt_inner import measure, table
        from .report import write

    document = measure(architecture, batch_size, device=device, dtype=dtype, seconds=seconds)
    messages.print(table(document))
    write(document, as_json)


@bench.command("service")
def bench_service(
    architecture: Annotated[str, typer.Option(help="timm's name of the network to serve")] = "vit_small_patch16_224",
    mode: Annotated[list[str] | None, typer.Option(help="closed, open, overload, kill; repeat  [closed, open]")] = None,
    clients: Annotated[list[int] | None, typer.Option(min=1, help="of closed loops; repeat  [1, 8, 32]")] = None,
    rate: Annotated[
        list[float] | None, typer.Option(help="requests/s of open loops; repeat  [0.7 of the least]")
    ] = None,
    size: Annotated[
        list[str] | None, typer.Option(help="of photographs; repeat  [500x375, 1280x960, 4000x3000]")
    ] = None,
    images: Annotated[Path | None, typer.Option(file_okay=False, exists=True, help="a folder of JPEG files")] = None,
    seconds: Annotated[float, typer.Option(help="per size and load, all servers together")] = 60,
    rounds: Annotated[int, typer.Option(min=1, help="in which servers take turns")] = 5,
    peer: Annotated[list[str] | None, typer.Option(help="fastapi, litserve, ray; repeat  [the first two]")] = None,
    url: Annotated[str | None, typer.Option(help="of a service that runs already: only that one is measured")] = None,
    max_batch_size: Annotated[int, typer.Option(min=1, help="of each server that batches")] = 32,
    device: Device = "cpu",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16, of all servers")] = "float32",
    backend: Annotated[str, typer.Option(help="of tessella: auto, torch, …")] = "auto",
    frontends: Annotated[int, typer.Option(min=0, help="front-end processes of tessella; 0: all in one")] = 0,
    plot: Plot = None,
    as_json: JsonFile = None,
) -> None:
    """The service beside FastAPI and LitServe on one model, over real sockets: tables, then one JSON document."""
    with require_extra("bench"):
        from .plots import draw_service
        from .report import write
        from .service.measure import measure
        from .service.plan import Plan
        from .service.tables import tables

    lists = {"modes": mode, "clients": clients, "rates": rate, "sizes": size, "peers": peer}
    given: dict[str, Any] = {name: tuple(values) for name, values in lists.items() if values}
    plan = Plan(
        architecture=architecture,
        images=images,
        seconds=seconds,
        rounds=rounds,
        url=url,
        max_batch_size=max_batch_size,
        device=device,
        dtype=dtype,
        backend=backend,
        serve_options=("--frontends", str(frontends)) if frontends else (),
        **given,
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # servers that were started are ended on the way out
    with Progress(*Progress.get_default_columns(), TimeElapsedColumn(), console=messages, transient=True) as bar:
        task = bar.add_task("starting", total=1.0)
        document = measure(plan, lambda text, part: bar.update(task, description=escape(text), completed=part))
    for table in tables(document):
        messages.print(table)
    write(document, as_json)
    _draw(draw_service, document, plot)


def _draw(draw: Callable[[dict[str, Any], Path], None], document: dict[str, Any], path: Path | None) -> None:
    """What cannot be drawn must not stop what was measured."""
    from .plots import PlotUnavailable

    try:
        if path:
            draw(document, path)
    except PlotUnavailable as error:
        messages.print(f"[yellow]warning:[/yellow] {escape(str(error))}", highlight=False)
