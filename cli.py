"""The `tessella` command: parses, calls, prints. What it does is done elsewhere."""

import inspect
import json
import logging
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from . import __version__
from .benchmarks.commands import bench, tune
from .models.visualization.command import explain
from .server.settings import Settings, unknown_variables


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a typer command one option for each setting; what the user gave arrives as keywords, the rest as None.

    A setting that is a table, such as `models`, is for the file and the environment only.
    """
    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_option(name))
        for name, field in Settings.model_fields.items()
        if get_origin(field.annotation) is not dict
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _option(name: str) -> Any:
    field = Settings.model_fields[name]
    default = ", ".join(field.default) if isinstance(field.default, tuple) else field.default
    if isinstance(default, float):
        default = f"{default:g}"
    shown = "" if default in (None, "", False) else f" (default: {default})"
    flags = ("--model", "-m") if name == "model" else ()
    return Annotated[_plain(field.annotation) | None, typer.Option(*flags, help=f"{field.description}{shown}")]


def _plain(annotation: Any) -> Any:
    """The type that typer reads: lists for tuples, the choices' own type, no None."""
    if get_origin(annotation) is tuple:
        return list[str]
    if get_origin(annotation) is Literal:
        return str
    if isinstance(annotation, UnionType):
        (annotation,) = (part for part in get_args(annotation) if part is not type(None))
    return annotation


app = typer.Typer(
    help="Serve Vision Transformers: ViT, DeiT and TNT checkpoints.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(bench, name="bench")
app.command()(explain)
app.command()(tune)
output, messages = Console(), Console(stderr=True)

Model = Annotated[str, typer.Option("--model", "-m", help="shipped name, file, folder, hub id or name=source")]
Device = Annotated[str | None, typer.Option(help="auto, cpu or cuda:0")]
Backend = Annotated[str | None, typer.Option(help="auto, triton, torch, onnxruntime, tensorrt or openvino")]
Dtype = Annotated[str | None, typer.Option(help="auto, float32, bfloat16 or float16")]
Architecture = Annotated[str | None, typer.Option(help="timm's name, for a file that does not say")]
ImageSize = Annotated[int | None, typer.Option(min=1, help="of the square, in pixels  [the checkpoint's]")]


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
    from .server.observability.logs import configure
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
    batch_invariant: Annotated[bool, typer.Option("--batch-invariant", help="as in tessella serve")] = False,
    architecture: Architecture = None,
    image_size: ImageSize = None,
) -> None:
    """Classify image files without a server: the same answer."""
    from .server.classify_files import classify_files

    answers = classify_files(
        images,
        model,
        top_k,
        device=device or "auto",
        backend=backend or "auto",
        dtype=dtype or "auto",
        batch_invariant=batch_invariant,
        architecture=architecture,
        image_size=image_size,
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
    from .models.catalog import list_models

    entries = list_models()
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
    preprocess: Annotated[
        bool, typer.Option("--preprocess", help="images of any size in, resized in the graph")
    ] = False,
    ort_fusions: Annotated[bool, typer.Option("--ort-fusions", help="operators only onnxruntime knows")] = False,
    architecture: Architecture = None,
    image_size: ImageSize = None,
) -> None:
    """Write a checkpoint as ONNX, verified against PyTorch before it is there."""
    try:
        from .models.onnx.export import Wishes, export
        from .models.onnx.verify import ExportError
    except ModuleNotFoundError as error:
        raise ValueError(f"exporting needs {error.name}: pip install 'tessella[torch,onnx]'") from error

    wishes = Wishes(
        opset=opset,
        form="plain" if plain else "folded",
        dtype=dtype,
        quantise=quantize,
        softmax=softmax,
        top_k=top_k,
        fusions=ort_fusions,
        preprocess=preprocess,
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the draft is removed on the way out
    with messages.status("starting") as status:
        try:
            made = export(
                model, output_file, wishes, architecture=architecture, image_size=image_size, progress=status.update
            )
        except ExportError as error:
            messages.print(f"[red]error:[/red] {escape(str(error))}", highlight=False, soft_wrap=True)
            raise typer.Exit(1) from error
    for verdict in filter(None, (made.verdict, made.preprocessing)):
        output.print(f"{verdict}", highlight=False, soft_wrap=True)
    names = " and ".join(str(file) for file in made.files)
    output.print(f"wrote {names}, {made.bytes / 2**20:.1f} MiB", highlight=False, soft_wrap=True)


@app.command()
def doctor() -> None:
    """What this machine has, which backend and dtype the shipped models get on it, and why."""
    from .models.doctor import diagnose

    table = Table(show_header=False, box=None, padding=(0, 2))
    with messages.status("looking and measuring …"):
        findings = diagnose()
    for what, found in findings:
        table.add_row(f"[bold]{what}[/bold]", found)
    output.print(table, highlight=False)


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
        findings = error.errors(include_url=False)
        told = ((".".join(map(str, part["loc"])), part["msg"].removeprefix("Value error, ")) for part in findings)
        return "; ".join(f"{where}: {what}" if where else what for where, what in told)
    return str(error)


if __name__ == "__main__":
    main()
