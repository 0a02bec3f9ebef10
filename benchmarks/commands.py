"""`tessella bench …`: parses, measures, prints. Imports what a command needs only when it runs."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, TimeElapsedColumn

from ..models.packages import needing
from .gpu_commands import bench_kernels

bench = typer.Typer(help="Measure: a table for people, one JSON document for machines.", no_args_is_help=True)
messages = Console(stderr=True)

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
    with needing("bench"):
        from .models import DEFAULT_ARCHITECTURES, measure, table
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
    with needing("bench"):
        from .report import write
        from .words import measure, table

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
    with needing("bench"):
        from .plan import Plan
        from .plots import draw_service
        from .report import write
        from .service import measure
        from .service_table import tables

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
