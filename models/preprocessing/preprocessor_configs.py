"""Preprocessor configs of checkpoints: timm's `pretrained_cfg`, Hugging Face's `preprocessor_config.json`. No torch."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast, get_args

from PIL import Image

from ..errors import CheckpointError
from ..types import Document
from .preprocess import Interpolation, Preprocessing

RGB = tuple[float, float, float]

HALF: RGB = (0.5, 0.5, 0.5)
IMAGENET_MEAN: RGB = (0.485, 0.456, 0.406)
IMAGENET_STD: RGB = (0.229, 0.224, 0.225)
CLIP_MEAN: RGB = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD: RGB = (0.26862954, 0.26130258, 0.27577711)

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
"""Defaults of each Hugging Face image processor, for keys that its file leaves out."""

_IMAGENET = {"image_mean": IMAGENET_MEAN, "image_std": IMAGENET_STD}
_DINOV2 = {"image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 256}, **_IMAGENET}
FAMILY_PROCESSORS: dict[str, Document] = {
    "vit": {"image_processor_type": "ViTImageProcessor"},
    "vit_msn": {"image_processor_type": "ViTImageProcessor", **_IMAGENET},
    "deit": {"image_processor_type": "DeiTImageProcessor", **_IMAGENET},
    "dinov2": _DINOV2,
    "dinov2_with_registers": _DINOV2,
}
"""`preprocessor_config.json` of the published checkpoints of each Hugging Face `model_type`."""

_SHORTEST_EDGE = ("Bit", "CLIP")  # in their older files a bare number is the length of the shorter side


def is_timm(document: Document) -> bool:
    """True if a `config.json` holds timm's preprocessor config, and not merely an architecture name."""
    return "mean" in document.get("pretrained_cfg", document)


def from_timm(document: Document, image_size: int | None = None) -> Preprocessing:
    """Preprocessing of timm's evaluation transform.

    Args:
        document: timm's `config.json`.
        image_size: overrides the input size of the document.

    Raises:
        CheckpointError: an unsupported transform (crop mode `border`, or an input that is not square).
    """
    config = document.get("pretrained_cfg", document)
    size = image_size or _square(config.get("input_size", (3, 224, 224))[1:], "input_size")
    mode = config.get("crop_mode") or "center"
    if mode not in ("center", "squash"):
        raise CheckpointError(f"config.json has crop_mode {mode!r}; supported are center and squash")
    return Preprocessing(
        size=size,
        resize=math.floor(size / (config.get("crop_pct") or 0.875)),
        mode="squash" if mode == "squash" else "shortest",
        interpolation=_interpolation(config.get("interpolation", "bilinear")),
        mean=_rgb(config.get("mean", IMAGENET_MEAN)),
        std=_rgb(config.get("std", IMAGENET_STD)),
    )


def from_hugging_face(document: Document, image_size: int | None = None) -> Preprocessing:
    """Preprocessing of a Hugging Face image processor on Pillow images.

    Args:
        document: its `preprocessor_config.json`.
        image_size: overrides the input size of the document.

    Raises:
        CheckpointError: an unsupported processor, rescaling or shape.
    """
    kind = _processor(document)
    config = _PROCESSORS[kind] | {key: value for key, value in document.items() if value is not None}
    if (
        not config["do_resize"]
        or not config["do_rescale"]
        or not math.isclose(config.get("rescale_factor", 1 / 255), 1 / 255)
    ):
        raise CheckpointError(
            "preprocessor_config.json does not resize, or does not rescale by 1/255; both are required"
        )
    squash, resize = _resize(config["size"], kind)
    size = _side(config["crop_size"], "crop_size") if config["do_center_crop"] else resize
    if not squash and not config["do_center_crop"]:
        raise CheckpointError(
            "preprocessor_config.json resizes the shorter side without a crop; only square inputs are supported"
        )
    preprocessing = Preprocessing(
        size=size,
        resize=resize,
        mode="squash" if squash else "shortest",
        interpolation=_interpolation(Image.Resampling(config["resample"]).name.lower()),
        crop="floor",
        mean=_rgb(config["image_mean"]) if config["do_normalize"] else (0.0, 0.0, 0.0),
        std=_rgb(config["image_std"]) if config["do_normalize"] else (1.0, 1.0, 1.0),
    )
    return at_size(preprocessing, image_size or size)


def family_preprocessing(model_type: str, image_size: int | None, native_size: int) -> Preprocessing:
    """Preprocessing that a Hugging Face family is published with, for a checkpoint without `preprocessor_config.json`.

    Args:
        model_type: as in its `config.json`; one of `FAMILY_PROCESSORS`.
        image_size: overrides the family's size: that of the position table, for DINOv2 at most 224 pixels.
        native_size: image size of the position table.
    """
    published = from_hugging_face(FAMILY_PROCESSORS[model_type])
    size = image_size or (min(native_size, published.size) if model_type.startswith("dinov2") else native_size)
    return replace(published, size=size, resize=size * published.resize // published.size)


def default_preprocessing(architecture: str, image_size: int) -> Preprocessing:
    """Preprocessing of most timm checkpoints of an architecture, for weights without a preprocessor config."""
    mean, std, crop = HALF, HALF, 0.9
    if "clip" in architecture:
        mean, std, crop = CLIP_MEAN, CLIP_STD, 1.0
    elif architecture.startswith("deit") or "dinov2" in architecture:
        mean, std, crop = IMAGENET_MEAN, IMAGENET_STD, 1.0 if "dinov2" in architecture else 0.9
    if image_size >= 384:
        crop = 1.0
    return Preprocessing(size=image_size, resize=math.floor(image_size / crop), mean=mean, std=std)


def at_size(preprocessing: Preprocessing, image_size: int) -> Preprocessing:
    """Preprocessing for another input size, at the same crop ratio."""
    if image_size == preprocessing.size:
        return preprocessing
    resize = round(image_size * preprocessing.resize / preprocessing.size)
    return replace(preprocessing, size=image_size, resize=resize)


def _processor(document: Document) -> str:
    named = document.get("image_processor_type") or document.get("feature_extractor_type") or "ViTImageProcessor"
    for suffix in ("ImageProcessorFast", "ImageProcessorPil", "ImageProcessor", "FeatureExtractor"):
        if named.removesuffix(suffix) in _PROCESSORS:
            return str(named.removesuffix(suffix))
    raise CheckpointError(f"preprocessor_config.json is for {named!r}; supported are those of {', '.join(_PROCESSORS)}")


def _resize(size: Any, kind: str) -> tuple[bool, int]:
    """(squash, length): squash if both sides are given."""
    if isinstance(size, int) and kind in _SHORTEST_EDGE:
        return False, _side(size, "size")
    if isinstance(size, Mapping) and "shortest_edge" in size and "longest_edge" not in size:
        return False, _side(size["shortest_edge"], "size.shortest_edge")
    return True, _side(size, "size")


def _side(size: Any, key: str) -> int:
    """Side of a square: a number, [height, width], or a mapping of both."""
    sides = [size.get("height"), size.get("width")] if isinstance(size, Mapping) else size
    sides = sides if isinstance(sides, list | tuple) else [sides] * 2
    if len(sides) != 2 or any(type(side) is not int or side <= 0 for side in sides):
        raise CheckpointError(
            f"preprocessor_config.json has {key} {size!r}; expected a number of pixels, [height, width], "
            '{"height": …, "width": …} or, with a centre crop, {"shortest_edge": …}'
        )
    return _square(sides, key)


def _square(sides: Any, key: str) -> int:
    height, width = sides
    if height != width:
        raise CheckpointError(f"{key} is {height}×{width}; only square inputs are supported")
    return int(height)


def _interpolation(name: str) -> Interpolation:
    if name not in get_args(Interpolation):
        raise CheckpointError(f"interpolation {name!r} is not one of {', '.join(get_args(Interpolation))}")
    return cast(Interpolation, name)


def _rgb(values: Any) -> RGB:
    numbers = [float(value) for value in ([values] * 3 if isinstance(values, int | float) else values)]
    if len(numbers) != 3:
        raise CheckpointError(f"mean and std have {len(numbers)} values; expected are 3, one for each channel")
    return (numbers[0], numbers[1], numbers[2])
