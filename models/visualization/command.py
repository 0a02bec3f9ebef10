"""Command `tessella explain`: draws attention and feature maps of image files. Parses, decodes, calls, prints."""

import json
from collections.abc import Sequence
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from PIL import Image
from rich.console import Console

from ..errors import ImageDecodeError

messages = Console(stderr=True)
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")


class Method(StrEnum):
    """Method of visualization."""

    sheet = "sheet"
    attention = "attention"
    rollout = "rollout"
    distance = "distance"
    features = "features"
    patches = "patches"
    embedding = "embedding"


def explain(
    images: Annotated[
        list[Path],
        typer.Argument(help="image files; for --method embedding, a folder with one subfolder per class", exists=True),
    ],
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="as for serve; repeat to compare models; default: digits-vit"),
    ] = None,
    output_file: Annotated[Path, typer.Option("--output", "-o", help="file to write: .png, .svg or .pdf")] = Path(
        "explanation.png"
    ),
    method: Annotated[
        Method, typer.Option(help="one method, or a sheet of attention, rollout, distance and patches")
    ] = Method.sheet,
    layer: Annotated[
        int | None, typer.Option(min=1, help="one layer, with each head separately; default: all layers")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="also print the values as one JSON document")] = False,
    random_weights: Annotated[
        bool,
        typer.Option(
            "--random-weights", help="--model names an architecture, which is initialised with random weights"
        ),
    ] = False,
    architecture: Annotated[
        str | None, typer.Option(help="timm name of the architecture, for files that do not state it")
    ] = None,
) -> None:
    """Draw what a network attends to: patches, attention, rollout, distances, feature maps, embeddings."""
    _require("torch", "matplotlib", *(["sklearn"] if method is Method.embedding else []))
    from .figure import check_suffix
    from .subject import Subject

    check_suffix(output_file)
    with messages.status("loading"):
        subjects = [
            Subject.load(name, random_weights=random_weights, architecture=architecture)
            for name in model or ["digits-vit"]
        ]
    with messages.status("computing and drawing"):
        draw = _draw_embedding if method is Method.embedding else _draw_views
        document = draw(images, subjects, method.value, layer, output_file)
    if as_json:
        print(json.dumps(document, ensure_ascii=False))
    messages.print(f"wrote {output_file}", markup=False, highlight=False, soft_wrap=True)


def _draw_views(files: Sequence[Path], subjects: Sequence[Any], method: str, layer: int | None, output: Path) -> Any:
    from .page import draw
    from .subject import View
    from .values import numbers

    for subject in subjects:
        subject.check_layer(layer)
    views = [View.of(subject, file.name, image) for file in files for image in [_read(file)] for subject in subjects]
    draw(views, method, layer, output)
    return [numbers(view, method, layer) for view in views]


def _draw_embedding(folders: Sequence[Path], subjects: Sequence[Any], _: str, layer: int | None, output: Path) -> Any:
    from .feature_embedding import draw, embed, numbers

    files = [file for folder in folders for file in _image_files(folder)]
    classes = [file.parent.name for file in files]
    images = [_read(file) for file in files]
    embeddings = [embed(subject, images, layer) for subject in subjects]
    draw(embeddings, classes, output)
    return numbers(embeddings, classes, [str(file) for file in files])


def _image_files(folder: Path) -> list[Path]:
    """Image files in the subfolders, each of which is a class.

    Raises:
        ValueError: there is none.
    """
    files = sorted(file for file in folder.glob("*/*") if file.suffix.lower() in SUFFIXES)
    if not files:
        raise ValueError(f"{folder} has no subfolders with images; expected is one per class, e.g. {folder}/cat/1.jpg")
    return files


def _read(file: Path) -> Image.Image:
    from ..preprocessing.decode import decode

    if file.is_dir():
        raise ValueError(f"{file} is a folder; only --method embedding takes one, other methods take image files")
    try:
        return decode(file.read_bytes())
    except ImageDecodeError as error:
        raise ValueError(f"{file}: {error}") from error


def _require(*modules: str) -> None:
    for module in modules:
        if find_spec(module) is None:
            raise ValueError(f"{module} is not installed: pip install 'tessella[explain]'")
