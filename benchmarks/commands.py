"""Commands `tessella bench …` and `tessella tune`: parse, measure, print. Imports happen when a command runs."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, TimeElapsedColumn

from ..models.packages import require_extra

bench = typer.Typer(
    help="Benchmark operators, networks and the service: tables on stderr, one JSON document on stdout.",
    no_args_is_help=True,
)
error_console = Console(stderr=True)

Device = Annotated[str, typer.Option(help="cpu or cuda:N")]
GpuDevice = Annotated[str, typer.Option(help="cuda:N")]
Dtype = Annotated[str, typer.Option(help="float32, bfloat16 or float16")]
GpuDtype = Annotated[str, typer.Option(help="bfloat16 or float16")]
Architectures = Annotated[
    list[str] | None,
    typer.Option("--architecture", help="timm's name of a network; repeat for several; default: five ViTs and TNTs"),
]
GpuBatches = Annotated[
    list[int] | None,
    typer.Option("--batch-size", min=1, help="images per call; repeat for several; default: 1, 8, 32, 64, 128, 256"),
]
Budget = Annotated[float, typer.Option(help="time for the whole run, in seconds; the rest is listed as not measured")]
Plot = Annotated[Path | None, typer.Option(help="draw the results to this file: .png, .svg or .pdf")]
JsonFile = Annotated[Path | None, typer.Option("--json", help="write the JSON document to this file; default: stdout")]


@bench.command("kernels")
def bench_kernels(
    architecture: Architectures = None,
    batch_size: GpuBatches = None,
    provider: Annotated[
        list[str] | None,
        typer.Option(help="triton, torch, compiled or max-autotune; repeat for several; default: all"),
    ] = None,
    device: GpuDevice = "cuda:0",
    dtype: GpuDtype = "bfloat16",
    seconds: Budget = 600,
    results: Annotated[
        Path | None, typer.Option(help="file of JSON lines to resume: rows in it are kept, new ones appended")
    ] = None,
    roofline: Annotated[
        str | None,
        typer.Option(help="only print the roofline bound on a GPU: a100, h100, h200, b200, l4, rtx4090"),
    ] = None,
    plot: Plot = None,
    as_json: JsonFile = None,
) -> None:
    """Measure each operator on a GPU: Triton kernels beside PyTorch, eager and compiled, results compared first."""
    if roofline:
        _print_bounds(roofline, architecture, batch_size)
        return
    from .operators import cuda_timer, measure
    from .operators.arguments import gpu_dtype, require_gpu
    from .plots import draw_kernels
    from .report import write

    gpu = require_gpu(device, "`tessella bench kernels --roofline h200` prints the roofline bound on any machine")
    if unknown := set(provider or ()) - set(measure.PROVIDERS):
        raise ValueError(f"provider {min(unknown)!r} is not one of {', '.join(measure.PROVIDERS)}")
    with error_console.status("measuring the peak rates of this GPU") as status:
        ceiling = cuda_timer.measure_ceiling()
        rows, remaining = measure.measure(
            gpu,
            ceiling,
            architectures=architecture or measure.ARCHITECTURES,
            batches=batch_size or measure.BATCHES,
            dtype=gpu_dtype(dtype),
            providers=provider or measure.PROVIDERS,
            results=results,
            budget=seconds,
            progress=lambda text: status.update(escape(text)),
        )
    error_console.print(measure.table(rows))
    _print_remaining(remaining)
    document = measure.document(rows, ceiling, device)
    write(document, as_json)
    _draw(draw_kernels, document, plot)


@bench.command("models")
def bench_models(
    architecture: Architectures = None,
    batch_size: Annotated[
        list[int] | None, typer.Option(min=1, help="images per call; repeat for several; default: 1, 8")
    ] = None,
    device: Device = "cpu",
    dtype: Annotated[
        list[str] | None,
        typer.Option(help="float32, bfloat16 or float16; repeat for several; default: those the device is fast in"),
    ] = None,
    engine: Annotated[
        list[str] | None,
        typer.Option(help="eager, compiled, folded, onnxruntime or openvino; repeat; default: all that are installed"),
    ] = None,
    seconds: Annotated[float, typer.Option(help="time per network and batch size, in seconds")] = 10,
    plot: Plot = None,
    as_json: JsonFile = None,
) -> None:
    """Measure whole networks: tessella beside timm, interleaved, on this machine; logits compared first."""
    with require_extra("bench"):
        from .networks.measure import DEFAULT_ARCHITECTURES, measure, table
        from .plots import draw_models
        from .report import write

    with _progress_bar() as progress:
        document = measure(
            architecture or DEFAULT_ARCHITECTURES,
            batch_size or (1, 8),
            device=device,
            dtypes=dtype or (),
            seconds=seconds,
            engines=engine or (),
            progress=progress,
        )
    error_console.print(table(document))
    write(document, as_json)
    _draw(draw_models, document, plot)


@bench.command("tnt-inner")
def bench_tnt_inner(
    architecture: Annotated[str, typer.Option(help="timm's name of a TNT")] = "tnt_s_patch16_224",
    batch_size: Annotated[int, typer.Option(min=1, help="images per call")] = 1,
    device: Device = "cpu",
    dtype: Dtype = "float32",
    seconds: Annotated[float, typer.Option(help="time for the whole run, in seconds")] = 10,
    as_json: JsonFile = None,
) -> None:
    """Measure TNT's inner blocks: published, compiled, a kernel per block, and all in one; memory traffic and time."""
    with require_extra("bench"):
        from .networks.tnt_inner import measure, table
        from .report import write

    document = measure(architecture, batch_size, device=device, dtype=dtype, seconds=seconds)
    error_console.print(table(document))
    write(document, as_json)


@bench.command("service")
def bench_service(
    architecture: Annotated[str, typer.Option(help="timm's name of the network to serve")] = "vit_small_patch16_224",
    mode: Annotated[
        list[str] | None,
        typer.Option(help="closed, open, overload or kill; repeat for several; default: closed, open"),
    ] = None,
    clients: Annotated[
        list[int] | None, typer.Option(min=1, help="clients of a closed loop; repeat for several; default: 1, 8, 32")
    ] = None,
    rate: Annotated[
        list[float] | None,
        typer.Option(help="requests/s of an open loop; repeat for several; default: 0.7 of the slowest closed loop"),
    ] = None,
    size: Annotated[
        list[str] | None,
        typer.Option(help="of photographs, in pixels; repeat for several; default: 500x375, 1280x960, 4000x3000"),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(file_okay=False, exists=True, help="folder of JPEG files to send instead of the photographs"),
    ] = None,
    seconds: Annotated[float, typer.Option(help="time per size and load for all servers together, in seconds")] = 60,
    rounds: Annotated[int, typer.Option(min=1, help="rounds in which the servers take turns")] = 5,
    peer: Annotated[
        list[str] | None, typer.Option(help="fastapi, litserve or ray; repeat for several; default: fastapi, litserve")
    ] = None,
    url: Annotated[str | None, typer.Option(help="measure only the service that runs at this URL")] = None,
    max_batch_size: Annotated[int, typer.Option(min=1, help="maximum batch size of each server that batches")] = 32,
    device: Device = "cpu",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16, for all servers")] = "float32",
    backend: Annotated[
        str, typer.Option(help="of tessella: auto, triton, torch, onnxruntime, tensorrt or openvino")
    ] = "auto",
    frontends: Annotated[
        int, typer.Option(min=0, help="front-end processes of tessella; 0: one process for everything")
    ] = 0,
    plot: Plot = None,
    as_json: JsonFile = None,
) -> None:
    """Measure the service under load beside FastAPI and LitServe with the same model; predictions compared first."""
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
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # exit handlers stop the servers
    with _progress_bar() as progress:
        document = measure(plan, progress)
    for table in tables(document):
        error_console.print(table)
    write(document, as_json)
    _draw(draw_service, document, plot)


def tune(
    architecture: Architectures = None,
    model: Annotated[list[str] | None, typer.Option("--model", "-m", help="model to measure (cpu); repeat")] = None,
    batch_size: GpuBatches = None,
    device: Device = "cuda:0",
    dtype: GpuDtype = "bfloat16",
    seconds: Budget = 600,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="table to write (cpu)")] = None,
) -> None:
    """Tune kernel launch configurations for a GPU, or backends for this CPU; later starts use the table.

    Replicas with the same CPU, cores and versions can be given the table of a CPU: --backend-timings FILE.
    """
    if device == "cpu":
        with require_extra("torch,onnx"):
            from .networks.tune_backends import tune_cpu
        with _progress_bar() as progress:
            lines = tune_cpu(model or [], architecture, output, progress)
        error_console.print(*map(escape, lines), sep="\n", highlight=False, soft_wrap=True)
        return
    if model or output:
        raise ValueError("--model and --output need --device cpu: on a GPU networks are tuned by --architecture")
    from .operators import tune as tuner

    with error_console.status("tuning") as status:
        summary, remaining = tuner.tune_gpu(
            device, architecture, batch_size, dtype, seconds, lambda text: status.update(escape(text))
        )
    error_console.print(summary, highlight=False, soft_wrap=True)
    _print_remaining(remaining)


def _print_bounds(gpu: str, architectures: list[str] | None, batches: list[int] | None) -> None:
    from . import roofline
    from .operators import measure

    ceiling = roofline.ceiling_of(gpu)
    for architecture in architectures or measure.ARCHITECTURES:
        error_console.print(roofline.table(architecture, tuple(batches or sorted(measure.BATCHES)), ceiling))


def _print_remaining(names: list[str]) -> None:
    if names:
        error_console.print(f"not measured in time: {len(names)}", *map(escape, names), sep="\n  ", highlight=False)


@contextmanager
def _progress_bar() -> Iterator[Callable[[str, float], None]]:
    """Context manager: update function of a progress bar, taking a description and the completed fraction."""
    columns = Progress.get_default_columns()
    with Progress(*columns, TimeElapsedColumn(), console=error_console, transient=True) as bar:
        task = bar.add_task("starting", total=1.0)
        yield lambda text, part: bar.update(task, description=escape(text), completed=part)


def _draw(draw: Callable[[dict[str, Any], Path], None], document: dict[str, Any], path: Path | None) -> None:
    """Draw the document, with a warning instead of an error where matplotlib is missing: the results are printed."""
    from .plots import PlotUnavailable

    try:
        if path:
            draw(document, path)
    except PlotUnavailable as error:
        error_console.print(f"[yellow]warning:[/yellow] {escape(str(error))}", highlight=False)
