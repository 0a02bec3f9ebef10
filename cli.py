"""The `tessella` command: parses, calls, prints. What it does is done elsewhere."""

import json
import logging
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, TimeElapsedColumn
from rich.table import Table

from . import __version__
from .server.options import with_settings
from .server.settings import Settings, unknown_variables

app = typer.Typer(
    help="Serve Vision Transformers: ViT, DeiT and TNT checkpoints.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
bench = typer.Typer(help="Measure: a table for people, one JSON document for machines.", no_args_is_help=True)
app.add_typer(bench, name="bench")
output, messages = Console(), Console(stderr=True)

Model = Annotated[str, typer.Option("--model", "-m", help="shipped name, file, folder, hub id or name=source")]
Device = Annotated[str | None, typer.Option(help="auto, cpu or cuda:0")]
Backend = Annotated[str | None, typer.Option(help="auto, triton, torch, onnxruntime, tensorrt or openvino")]
Dtype = Annotated[str | None, typer.Option(help="auto, float32, bfloat16 or float16")]


def main() -> None:
    """Runs the command; what the user got wrong is one line and exit code 2, not a traceback."""
    try:
        app()
    except (ValueError, LookupError, OSError) as error:
        messages.print(f"[red]error:[/red] {escape(_explain(error))}", highlight=False, soft_wrap=True)
        sys.exit(2)


@app.callback(invoke_without_command=True)
def version(show: Annotated[bool, typer.Option("--version", help="print the version and exit")] = False) -> None:
    if show:
        output.print(__version__, highlight=False)
        raise typer.Exit


@app.command()
@with_settings
def serve(**options: Any) -> None:
    """Serve models over HTTP. Without --model: the two checkpoints that ship.

    Every option is also a variable (TESSELLA_PORT=9000) and a key in tessella.toml (port = 9000).
    """
    from .server.logs import configure
    from .server.serve import serve as run

    settings = Settings(**{name: value for name, value in options.items() if value is not None})
    configure(settings.log_format)
    for name in unknown_variables():
        logging.warning("no setting is called %s", name)
    raise typer.Exit(run(settings))


@app.command()
def classify(
    images: Annotated[list[Path], typer.Argument(help="image files", exists=True, dir_okay=False)],
    model: Model = "digits-vit",
    top_k: Annotated[int, typer.Option(min=1, help="how many classes to show")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON document instead of tables")] = False,
    device: Device = None,
    backend: Backend = None,
    dtype: Dtype = None,
) -> None:
    """Classify image files without a server: the same answer."""
    from .server.offline import classify_files

    answers = classify_files(
        images, model, top_k, device=device or "auto", backend=backend or "auto", dtype=dtype or "auto"
    )
    if as_json:
        print(json.dumps(answers, ensure_ascii=False))
    else:
        _print_answers(answers)
    if any("error" in answer for answer in answers):
        raise typer.Exit(1)


@app.command("models")
def list_models(
    as_json: Annotated[bool, typer.Option("--json", help="one JSON document instead of a table")] = False,
) -> None:
    """What can be served: shipped and cached checkpoints; and the architectures that checkpoints may have."""
    from .models.catalogue import catalogue

    entries = catalogue()
    if as_json:
        print(json.dumps([asdict(entry) for entry in entries]))
        return
    table = Table("", "name", "family", "pixels", "classes", "parameters", "GMACs", box=None)
    for entry in entries:
        sizes = str(entry.image_size), str(entry.num_classes), f"{entry.parameters / 1e6:.2f} M", f"{entry.gmacs:.2f}"
        table.add_row(entry.kind, entry.name, entry.family, *sizes)
    output.print(table)


@app.command()
def export(
    model: Model,
    output_file: Annotated[Path, typer.Option("--output", "-o", help="the file to write: name.onnx")],
    opset: Annotated[int, typer.Option(help="20, or 23 with attention as one operator")] = 20,
    plain: Annotated[bool, typer.Option("--plain/--folded", help="as published, or with less arithmetic")] = False,
    dtype: Annotated[str, typer.Option(help="float32, float16 or bfloat16")] = "float32",
    quantize: Annotated[str | None, typer.Option(help="int8: smaller and faster on a CPU, and lossy")] = None,
    softmax: Annotated[bool, typer.Option("--softmax", help="a further output with probabilities")] = False,
    top_k: Annotated[int | None, typer.Option(min=1, help="further outputs with the likeliest classes")] = None,
    ort_fusions: Annotated[bool, typer.Option("--ort-fusions", help="operators only onnxruntime knows")] = False,
    architecture: Annotated[str | None, typer.Option(help="timm's name, for a file that does not say")] = None,
    image_size: Annotated[int | None, typer.Option(min=1, help="of the square, in pixels  [the checkpoint's]")] = None,
) -> None:
    """Write a checkpoint as ONNX, verified against PyTorch before it is there."""
    from .models.export import Wishes, export
    from .models.export_check import ExportError

    wishes = Wishes(
        opset=opset,
        form="plain" if plain else "folded",
        dtype=dtype,
        quantise=quantize,
        softmax=softmax,
        top_k=top_k,
        fusions=ort_fusions,
    )
    with messages.status("starting") as status:
        try:
            made = export(
                model, output_file, wishes, architecture=architecture, image_size=image_size, progress=status.update
            )
        except ExportError as error:
            messages.print(f"[red]error:[/red] {escape(str(error))}", highlight=False, soft_wrap=True)
            raise typer.Exit(1) from error
    output.print(f"{made.verdict}", highlight=False, soft_wrap=True)
    names = " and ".join(str(file) for file in made.files)
    output.print(f"wrote {names}, {made.bytes / 2**20:.1f} MiB", highlight=False, soft_wrap=True)


@app.command()
def doctor() -> None:
    """What this machine has, which backend and dtype the shipped models get on it, and why."""
    from .models.machine import examine

    table = Table(show_header=False, box=None, padding=(0, 2))
    with messages.status("looking and measuring …"):
        findings = examine()
    for what, found in findings:
        table.add_row(f"[bold]{what}[/bold]", found)
    output.print(table, highlight=False)


@bench.command("models")
def bench_models(
    architecture: Annotated[list[str] | None, typer.Option(help="timm's name of a network; repeat for several")] = None,
    batch_size: Annotated[list[int] | None, typer.Option(min=1, help="repeat for several  [1, 8]")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda:0")] = "cpu",
    dtype: Annotated[list[str] | None, typer.Option(help="float32, bfloat16, float16  [what the device has]")] = None,
    engine: Annotated[
        list[str] | None, typer.Option(help="eager, compiled, folded, onnxruntime, openvino  [all that are installed]")
    ] = None,
    seconds: Annotated[float, typer.Option(help="per network and batch size")] = 10,
    as_json: Annotated[Path | None, typer.Option("--json", help="write the document here, not to stdout")] = None,
) -> None:
    """Whole networks, ours beside timm's, in turns on this machine: a table, then one JSON document."""
    from .benchmarks.models import DEFAULT_ARCHITECTURES, measure, table
    from .benchmarks.report import write

    with messages.status("starting") as status:
        document = measure(
            architecture or DEFAULT_ARCHITECTURES,
            batch_size or (1, 8),
            device=device,
            dtypes=dtype or (),
            seconds=seconds,
            engines=engine or (),
            progress=status.update,
        )
    messages.print(table(document))
    write(document, as_json)


@bench.command("words")
def bench_words(
    architecture: Annotated[str, typer.Option(help="timm's name of a TNT")] = "tnt_s_patch16_224",
    batch_size: Annotated[int, typer.Option(min=1)] = 1,
    device: Annotated[str, typer.Option(help="cpu or cuda:0")] = "cpu",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16, float16")] = "float32",
    seconds: Annotated[float, typer.Option(help="in all")] = 10,
    as_json: Annotated[Path | None, typer.Option("--json", help="write the document here, not to stdout")] = None,
) -> None:
    """A TNT's inner blocks as published, compiled, a kernel each, and run ahead: bytes moved and time."""
    from .benchmarks.report import write
    from .benchmarks.words import measure, table

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
    peer: Annotated[list[str] | None, typer.Option(help="fastapi, litserve; repeat  [both]")] = None,
    url: Annotated[str | None, typer.Option(help="of a service that runs already: only that one is measured")] = None,
    max_batch_size: Annotated[int, typer.Option(min=1, help="of each server that batches")] = 32,
    device: Annotated[str, typer.Option(help="cpu or cuda:0")] = "cpu",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16, of all servers")] = "float32",
    backend: Annotated[str, typer.Option(help="of tessella: auto, torch, …")] = "auto",
    frontends: Annotated[int, typer.Option(min=0, help="front-end processes of tessella; 0: all in one")] = 0,
    plot: Annotated[Path | None, typer.Option(help="draws a picture: .png, .svg or .pdf")] = None,
    as_json: Annotated[Path | None, typer.Option("--json", help="write the document here, not to stdout")] = None,
) -> None:
    """The service beside FastAPI and LitServe on one model, over real sockets: tables, then one JSON document."""
    try:
        from .benchmarks.plan import Plan
        from .benchmarks.report import write
        from .benchmarks.service import measure
        from .benchmarks.service_plot import PlotUnavailable, draw
        from .benchmarks.service_table import tables
    except ModuleNotFoundError as error:
        raise ValueError(f"{error.name} is not installed: pip install 'tessella[bench]'") from error

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
    if plot:
        try:
            draw(document, plot)
        except PlotUnavailable as error:
            messages.print(f"[yellow]warning:[/yellow] {escape(str(error))}", highlight=False)


def _print_answers(answers: list[dict[str, Any]]) -> None:
    for answer in answers:
        if "error" in answer:
            messages.print(
                f"[red]{escape(answer['file'])}: {escape(answer['error'])}[/red]", highlight=False, soft_wrap=True
            )
            continue
        table = Table("score", "label", title=answer["file"], title_justify="left", box=None)
        for prediction in answer["predictions"]:
            table.add_row(f"{prediction['score']:.2%}", prediction["label"])
        output.print(table)


def _explain(error: Exception) -> str:
    if isinstance(error, ValidationError):
        findings = (f"{'.'.join(map(str, part['loc']))}: {part['msg']}" for part in error.errors(include_url=False))
        return "; ".join(findings)
    return str(error)


if __name__ == "__main__":
    main()
