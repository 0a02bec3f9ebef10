"""`tessella explain`: image files in, a picture of what a network makes of them out. Parses, decodes, calls, prints."""

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
    """What is drawn."""

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
        typer.Argument(help="image files; for --method embedding, a folder with a folder per class", exists=True),
    ],
    model: Annotated[
        list[str] | None, typer.Option("--model", "-m", help="as for serve; repeat to compare  [digits-vit]")
    ] = None,
    output_file: Annotated[Path, typer.Option("--output", "-o", help="the picture: .png, .svg or .pdf")] = Path(
        "explanation.png"
    ),
    method: Annotated[Method, typer.Option(help="a page with the next four, or one alone")] = Method.sheet,
    layer: Annotated[int | None, typer.Option(min=1, help="only this one, each head apart  [all]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="the numbers too, as one JSON document")] = False,
    random_weights: Annotated[
        bool, typer.Option("--random-weights", help="--model names an architecture, which gets fresh weights")
    ] = False,
    architecture: Annotated[str | None, typer.Option(help="timm's name, for a file that does not say")] = None,
) -> None:
    """Draw what a network attends to: patches, attention, rollout, distances, feature maps, embeddings."""
    _need("torch", "matplotlib", *(["sklearn"] if method is Method.embedding else []))
    from .figure import check_suffix
    from .subject import Subject

    check_suffix(output_file)
    with messages.status("loading"):
        subjects = [
            Subject.load(one, random_weights=random_weights, architecture=architecture)
            for one in model or ["digits-vit"]
        ]
    with messages.status("looking and drawing"):
        work = _embedding if method is Method.embedding else _views
        document = work(images, subjects, method.value, layer, output_file)
    if as_json:
        print(json.dumps(document, ensure_ascii=False))
    messages.print(f"wrote {output_file}", markup=False, highlight=False, soft_wrap=True)


def _views(files: Sequence[Path], subjects: Sequence[Any], method: str, layer: int | None, output: Path) -> Any:
    from .page import draw
    from .subject import View
    from .values import numbers

    for subject in subjects:
        subject.check_layer(layer)
    views = [View.of(subject, file.name, image) for file in files for image in [_read(file)] for subject in subjects]
    draw(views, method, layer, output)
    return [numbers(view, method, layer) for view in views]


def _embedding(folders: Sequence[Path], subjects: Sequence[Any], _: str, layer: int | None, output: Path) -> Any:
    from .feature_embedding import draw, embed, numbers

    files = [file for folder in folders for file in _pictures(folder)]
    classes = [file.parent.name for file in files]
    images = [_read(file) for file in files]
    embeddings = [embed(subject, images, layer) for subject in subjects]
    draw(embeddings, classes, output)
    return numbers(embeddings, classes, [str(file) for file in files])


def _pictures(folder: Path) -> list[Path]:
    """The image files one folder below, which is their class.

    Raises:
        ValueError: there is none.
    """
    found = sorted(file for file in folder.glob("*/*") if file.suffix.lower() in SUFFIXES)
    if not found:
        raise ValueError(f"{folder} has no folders of images in it: one for each class, such as {folder}/cat/1.jpg")
    return found


def _read(file: Path) -> Image.Image:
    from ..preprocessing.decode import decode

    if file.is_dir():
        raise ValueError(f"{file} is a folder; --method embedding takes one, the others take image files")
    try:
        return decode(file.read_bytes())
    except ImageDecodeError as error:
        raise ValueError(f"{file}: {error}") from error


def _need(*modules: str) -> None:
    for module in modules:
        if find_spec(module) is None:
            raise ValueError(f"{module} is not installed: pip install 'tessella[explain]'")
