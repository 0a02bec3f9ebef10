"""Preprocessing as checkpoints describe it: timm's `pretrained_cfg`, Hugging Face's `preprocessor_config.json`."""

import math
from dataclasses import replace
from typing import Any, cast

from PIL import Image

from ..errors import CheckpointError
from ..types import Document
from .preprocess import Interpolation, Preprocessing

Colour = tuple[float, float, float]

HALF: Colour = (0.5, 0.5, 0.5)
IMAGENET_MEAN: Colour = (0.485, 0.456, 0.406)
IMAGENET_STD: Colour = (0.229, 0.224, 0.225)
CLIP_MEAN: Colour = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD: Colour = (0.26862954, 0.26130258, 0.27577711)

_SQUARE = {"do_resize": True, "do_center_crop": False, "resample": 2, "size": {"height": 224, "width": 224}}
_HALF = {"image_mean": HALF, "image_std": HALF, "do_normalize": True, "do_rescale": True}
_CROPPED = {"do_center_crop": True, "resample": 3, "crop_size": {"height": 224, "width": 224}}
_CLIP = {"size": {"shortest_edge": 224}, "image_mean": CLIP_MEAN, "image_std": CLIP_STD}
_PROCESSORS: dict[str, dict[str, Any]] = {
    "ViT": {**_SQUARE, **_HALF},
    "DeiT": {**_SQUARE, **_HALF, **_CROPPED, "size": {"height": 256, "width": 256}},
    "Beit": {**_SQUARE, **_HALF, "resample": 3},
    "Bit": {**_SQUARE, **_HALF, **_CROPPED, **_CLIP},
    "CLIP": {**_SQUARE, **_HALF, **_CROPPED, **_CLIP},
}
"""What each of Hugging Face's processors does where its file is silent."""

_SHORTEST_EDGE = ("Bit", "CLIP")  # whose older files give a bare number for the shorter side


def is_timm(document: Document) -> bool:
    """Whether a `config.json` holds a recipe of timm's, and does not merely name an architecture."""
    return "mean" in document.get("pretrained_cfg", document)


def from_timm(document: Document, image_size: int | None = None) -> Preprocessing:
    """timm's evaluation transform. `document`: a `config.json` of timm; `image_size`: another than it gives.

    Raises:
        CheckpointError: it asks for something that is not served (borders, images that are not square).
    """
    recipe = document.get("pretrained_cfg", document)
    size = image_size or _square(recipe.get("input_size", (3, 224, 224))[1:], "input_size")
    mode = recipe.get("crop_mode") or "center"
    if mode not in ("center", "squash"):
        raise CheckpointError(f"config.json says crop_mode {mode!r}; served are center and squash")
    return Preprocessing(
        size=size,
        resize=math.floor(size / (recipe.get("crop_pct") or 0.875)),
        mode="squash" if mode == "squash" else "shortest",
        interpolation=_interpolation(recipe.get("interpolation", "bilinear")),
        mean=_colour(recipe.get("mean", IMAGENET_MEAN)),
        std=_colour(recipe.get("std", IMAGENET_STD)),
    )


def from_hugging_face(document: Document, image_size: int | None = None) -> Preprocessing:
    """A Hugging Face image processor on Pillow images. `document`: its `preprocessor_config.json`.

    Raises:
        CheckpointError: a processor, a rescaling or a shape that is not served.
    """
    kind = _processor(document)
    said = {key: value for key, value in document.items() if value is not None}
    recipe = _PROCESSORS[kind] | said
    if (
        not recipe["do_resize"]
        or not recipe["do_rescale"]
        or not math.isclose(recipe.get("rescale_factor", 1 / 255), 1 / 255)
    ):
        raise CheckpointError("preprocessor_config.json does not resize, or does not rescale by 1/255; served are both")
    squash, resize = _resize(recipe["size"], kind)
    size = _side(recipe["crop_size"]) if recipe["do_center_crop"] else resize
    if not squash and not recipe["do_center_crop"]:
        raise CheckpointError("preprocessor_config.json resizes the shorter side and does not crop: not a square")
    preprocessing = Preprocessing(
        size=size,
        resize=resize,
        mode="squash" if squash else "shortest",
        interpolation=_interpolation(Image.Resampling(recipe["resample"]).name.lower()),
        crop="floor",
        mean=_colour(recipe["image_mean"]) if recipe["do_normalize"] else (0.0, 0.0, 0.0),
        std=_colour(recipe["image_std"]) if recipe["do_normalize"] else (1.0, 1.0, 1.0),
    )
    return at_size(preprocessing, image_size or size)


def assumed(architecture: str, image_size: int) -> Preprocessing:
    """How timm evaluates most checkpoints of an architecture: for a bare file, whose own recipe is not known."""
    mean, std, crop = HALF, HALF, 0.9
    if "clip" in architecture:
        mean, std, crop = CLIP_MEAN, CLIP_STD, 1.0
    elif architecture.startswith("deit") or "dinov2" in architecture:
        mean, std, crop = IMAGENET_MEAN, IMAGENET_STD, 1.0 if "dinov2" in architecture else 0.9
    if image_size >= 384:
        crop = 1.0
    return Preprocessing(size=image_size, resize=math.floor(image_size / crop), mean=mean, std=std)


def at_size(preprocessing: Preprocessing, image_size: int) -> Preprocessing:
    """The same recipe for another image size: the share that the crop keeps stays."""
    if image_size == preprocessing.size:
        return preprocessing
    resize = round(image_size * preprocessing.resize / preprocessing.size)
    return replace(preprocessing, size=image_size, resize=resize)


def _processor(document: Document) -> str:
    named = document.get("image_processor_type") or document.get("feature_extractor_type") or "ViTImageProcessor"
    for suffix in ("ImageProcessorFast", "ImageProcessorPil", "ImageProcessor", "FeatureExtractor"):
        if named.removesuffix(suffix) in _PROCESSORS:
            return str(named.removesuffix(suffix))
    raise CheckpointError(f"preprocessor_config.json is for {named!r}; served are those of {', '.join(_PROCESSORS)}")


def _resize(size: Any, kind: str) -> tuple[bool, int]:
    """Whether both sides are given, and the side."""
    if isinstance(size, int):
        return kind not in _SHORTEST_EDGE, size
    if "shortest_edge" in size and "longest_edge" not in size:
        return False, int(size["shortest_edge"])
    return True, _side(size)


def _side(size: Any) -> int:
    if isinstance(size, int):
        return size
    return _square((size.get("height", 0), size.get("width", 1)), "size")


def _square(sides: Any, key: str) -> int:
    height, width = sides
    if height != width:
        raise CheckpointError(f"{key} is {height}×{width}; served are squares")
    return int(height)


def _interpolation(name: str) -> Interpolation:
    if name not in ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"):
        raise CheckpointError(f"interpolation {name!r} is not one of Pillow's")
    return cast(Interpolation, name)


def _colour(values: Any) -> Colour:
    numbers = [float(value) for value in ([values] * 3 if isinstance(values, int | float) else values)]
    if len(numbers) != 3:
        raise CheckpointError(f"mean and std have {len(numbers)} values; served are images of 3 channels")
    return (numbers[0], numbers[1], numbers[2])
