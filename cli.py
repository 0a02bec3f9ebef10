"""Command line `tessella`: parses, calls, prints. The work is done in the packages that it calls."""

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
from pydantic.fields import FieldInfo
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from . import __version__
from .benchmarks.commands import bench, tune
from .models.visualization.command import explain
from .server.settings import Settings, unknown_variables

app = typer.Typer(
    help="Serve Vision Transformers: ViT, DeiT and TNT checkpoints.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(bench, name="bench")
console, error_console = Console(), Console(stderr=True)

Model = Annotated[str, typer.Option("--model", "-m", help="shipped name, file, folder, hub id or name=source")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda:N")]
Backend = Annotated[str, typer.Option(help="auto, triton, torch, onnxruntime, tensorrt or openvino")]
Dtype = Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16")]
Architecture = Annotated[
    str | None, typer.Option(help="timm's name of the architecture, for a checkpoint that does not name it")
]
ImageSize = Annotated[
    int | None, typer.Option(min=1, help="side of the square input, in pixels; default: the checkpoint's")
]
_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a Typer command one option per setting: keywords of the command, None where not given.

    A setting that is a table, such as `models`, can only be set in the file and the environment.
    """
    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_settings_option(name))
        for name, field in Settings.model_fields.items()
        if get_origin(field.annotation) is not dict
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _settings_option(name: str) -> Any:
    """Typer's annotation of one setting."""
    field = Settings.model_fields[name]
    flags = ("--model", "-m") if name == "model" else ()
    return Annotated[_option_type(field.annotation) | None, typer.Option(*flags, help=_settings_help(field))]


def _option_type(annotation: Any) -> Any:
    """Setting's type as Typer reads it: a list for a tuple, str for a Literal, X for `X | None`."""
    if get_origin(annotation) is tuple:
        return list[str]
    if get_origin(annotation) is Literal:
        return str
    if isinstance(annotation, UnionType):
        (annotation,) = (part for part in get_args(annotation) if part is not type(None))
    return annotation


def _settings_help(field: FieldInfo) -> str:
    """Description of a setting with its allowed values and its default: `port (at most 65535; default: 8000)`."""
    choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    notes = [f"one of {', '.join(choices)}"] if choices else []
    for constraint in field.metadata:
        notes += [f"{text} {getattr(constraint, key)}" for key, text in _BOUNDS.items() if hasattr(constraint, key)]
    default = ", ".join(field.default) if isinstance(field.default, tuple) else field.default
    if isinstance(default, float):
        default = f"{default:g}"
    if default not in (None, "") and default is not False:
        notes.append(f"default: {default}")
    return f"{field.description} ({'; '.join(notes)})" if notes else f"{field.description}"


def main() -> None:
    """Run the command; a user error is one line on stderr and exit code 2, not a traceback."""
    try:
        app()
    except (ValueError, LookupError, OSError) as error:
        error_console.print(f"[red]error:[/red] {escape(_message(error))}", highlight=False, soft_wrap=True)
        sys.exit(2)


@app.callback(invoke_without_command=True)
def version(show: Annotated[bool, typer.Option("--version", help="print the version and exit")] = False) -> None:
    """Print the version and exit, where `--version` is given."""
    if show:
        console.print(__version__, highlight=False)
        raise typer.Exit


@app.command()
@with_settings
def serve(**options: Any) -> None:
    """Serve models over HTTP. Without --model: the two checkpoints that ship.

    Every option is also an environment variable (TESSELLA_PORT=9000) and a key in tessella.toml (port = 9000).
    """
    from .server.observability.logs import configure_logging
    from .server.serve import serve as run

    settings = Settings(**{name: value for name, value in options.items() if value is not None})
    configure_logging(settings.log_format)
    for name in unknown_variables():
        logging.warning("environment variable %s is ignored: there is no such setting", name)
    raise typer.Exit(run(settings))


@app.command()
def classify(
    images: Annotated[list[Path], typer.Argument(help="image files", exists=True, dir_okay=False)],
    model: Model = "digits-vit",
    top_k: Annotated[int, typer.Option(min=1, help="number of classes to show per image")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document instead of tables")] = False,
    device: Device = "auto",
    backend: Backend = "auto",
    dtype: Dtype = "auto",
    batch_invariant: Annotated[
        bool,
        typer.Option("--batch-invariant", help="scores do not depend, bit for bit, on the batch; backend triton only"),
    ] = False,
    architecture: Architecture = None,
    image_size: ImageSize = None,
) -> None:
    """Classify image files without a server, with the same predictions."""
    from .server.classify_files import classify_files

    results = classify_files(
        images,
        model,
        top_k,
        device=device,
        backend=backend,
        dtype=dtype,
        batch_invariant=batch_invariant,
        architecture=architecture,
        image_size=image_size,
    )
    if as_json:
        print(json.dumps(results, ensure_ascii=False))
    else:
        _print_results(results)
    if any("error" in result for result in results):
        raise typer.Exit(1)


@app.command("models")
def list_models(
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document instead of a table")] = False,
) -> None:
    """List models: shipped and cached checkpoints, and the architectures that can be loaded."""
    from .models.catalog import list_models as find_models

    entries = find_models()
    if as_json:
        print(json.dumps([asdict(entry) for entry in entries]))
        return
    table = Table("", "name", "family", "pixels", "classes", "parameters", "GMACs", box=None)
    for entry in entries:
        sizes = str(entry.image_size), str(entry.num_classes), f"{entry.parameters / 1e6:.2f} M", f"{entry.gmacs:.2f}"
        table.add_row(entry.kind, entry.name, entry.family, *sizes)
    console.print(table)


@app.command()
def export(
    model: Model,
    output_file: Annotated[Path, typer.Option("--output", "-o", help="file to write, such as model.onnx")],
    opset: Annotated[int, typer.Option(help="ONNX opset: 20, or 23 with attention as one operator")] = 20,
    plain: Annotated[
        bool,
        typer.Option("--plain/--folded", help="the network as published, or folded: equal outputs, fewer operations"),
    ] = False,
    dtype: Annotated[str, typer.Option(help="float32, float16 or bfloat16")] = "float32",
    quantize: Annotated[
        str | None, typer.Option(help="int8: smaller and faster on a CPU, less accurate; default: none")
    ] = None,
    softmax: Annotated[bool, typer.Option("--softmax", help="add an output with probabilities")] = False,
    top_k: Annotated[
        int | None,
        typer.Option(min=1, help="add outputs with the K most likely classes; default: none"),
    ] = None,
    preprocess: Annotated[
        bool, typer.Option("--preprocess", help="take images of any size and resize them in the graph")
    ] = False,
    ort_fusions: Annotated[
        bool, typer.Option("--ort-fusions", help="use fused operators that only ONNX Runtime implements")
    ] = False,
    architecture: Architecture = None,
    image_size: ImageSize = None,
) -> None:
    """Export a checkpoint as ONNX; its outputs are compared with PyTorch's before the file is put in place."""
    try:
        from .models.onnx.export import ExportOptions, export
        from .models.onnx.verify import ExportError
    except ModuleNotFoundError as error:
        raise ValueError(f"export needs {error.name}: pip install 'tessella[torch,onnx]'") from error

    options = ExportOptions(
        opset=opset,
        form="plain" if plain else "folded",
        dtype=dtype,
        quantise=quantize,
        softmax=softmax,
        top_k=top_k,
        fusions=ort_fusions,
        preprocess=preprocess,
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # exit handlers remove the unfinished file
    with error_console.status("starting") as status:
        try:
            result = export(
                model, output_file, options, architecture=architecture, image_size=image_size, progress=status.update
            )
        except ExportError as error:
            error_console.print(f"[red]error:[/red] {escape(str(error))}", highlight=False, soft_wrap=True)
            raise typer.Exit(1) from error
    for report in filter(None, (result.parity, result.preprocessing_parity)):
        console.print(f"{report}", highlight=False, soft_wrap=True)
    names = " and ".join(str(file) for file in result.files)
    console.print(f"wrote {names}, {result.bytes / 2**20:.1f} MiB", highlight=False, soft_wrap=True)


app.command()(explain)
app.command()(tune)


@app.command()
def doctor(
    backend_timings: Annotated[
        Path | None,
        typer.Option(
            envvar="TESSELLA_BACKEND_TIMINGS",
            help="table of `tessella tune --device cpu`; default: the one in the cache folder",
        ),
    ] = None,
) -> None:
    """Report hardware and packages, and the backend and dtype chosen for large and shipped models, with the reasons."""
    from .models.doctor import diagnose

    table = Table(show_header=False, box=None, padding=(0, 2))
    with error_console.status("detecting hardware"):
        findings = diagnose(backend_timings)
    for subject, finding in findings:
        table.add_row(f"[bold]{subject}[/bold]", finding)
    console.print(table, highlight=False)


def _print_results(results: list[dict[str, Any]]) -> None:
    for result in results:
        if "error" in result:
            error_console.print(
                f"[red]{escape(result['file'])}: {escape(result['error'])}[/red]", highlight=False, soft_wrap=True
            )
            continue
        table = Table("score", "label", title=result["file"], title_justify="left", box=None)
        for prediction in result["predictions"]:
            table.add_row(f"{prediction['score']:.2%}", prediction["label"])
        console.print(table)


def _message(error: Exception) -> str:
    """One line for the user: every setting that is invalid, or the error's own text."""
    if isinstance(error, ValidationError):
        parts = [(".".join(map(str, part["loc"])), part["msg"]) for part in error.errors(include_url=False)]
        texts = [(field, text.removeprefix("Value error, ")) for field, text in parts]
        return "; ".join(f"{field}: {text}" if field else text for field, text in texts)
    return str(error)


if __name__ == "__main__":
    main()
