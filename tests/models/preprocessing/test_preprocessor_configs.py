"""Preprocessor configs: pixels equal timm's transform and Hugging Face's processors on real photographs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from tessella.benchmarks import timm_import  # noqa: F401
from tessella.kernels.reference import normalise
from tessella.models.checkpoints.config_json import HUGGING_FACE_MODELS
from tessella.models.errors import CheckpointError
from tessella.models.preprocessing.preprocess import Preprocessing
from tessella.models.preprocessing.preprocessor_configs import (
    FAMILY_PROCESSORS,
    at_size,
    default_preprocessing,
    family_preprocessing,
    from_hugging_face,
    from_timm,
)


def _photographs() -> dict[str, Image.Image]:
    """Photographs of installed packages, and crops of them: wide, tall, square, tiny, and of odd sizes."""
    import skimage.data
    import sklearn.datasets

    ours, theirs = Path(skimage.data.__file__).parent, Path(sklearn.datasets.__file__).parent / "images"
    files = [ours / name for name in ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")]
    files += [theirs / "china.jpg", theirs / "flower.jpg"]
    opened = {file.stem: Image.open(file).convert("RGB") for file in files}
    china = opened["china"]
    return opened | {
        "tall": china.crop((100, 0, 331, 427)),
        "odd": china.crop((3, 5, 300, 306)),
        "tiny": china.resize((37, 23)),
        "thin": china.crop((0, 200, 640, 217)),
    }


PHOTOGRAPHS = _photographs()
TIMM: dict[str, dict[str, Any]] = {
    "augreg": {"crop_pct": 0.9, "interpolation": "bicubic", "mean": (0.5,) * 3, "std": (0.5,) * 3},
    "deit": {"crop_pct": 0.9, "interpolation": "bicubic"},
    "384": {"input_size": (3, 384, 384), "crop_pct": 1.0, "interpolation": "bicubic"},
    "squash": {"input_size": (3, 378, 378), "crop_pct": 1.0, "crop_mode": "squash", "interpolation": "bicubic"},
    "miil": {"crop_pct": 0.875, "interpolation": "bilinear", "mean": (0.0,) * 3, "std": (1.0,) * 3},
    "dinov2": {"input_size": (3, 518, 518), "crop_pct": 1.0, "crop_mode": "center", "interpolation": "bicubic"},
    "odd margin": {"input_size": (3, 224, 224), "crop_pct": 0.95, "interpolation": "lanczos"},
}
_IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
_HALF = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
HUGGING_FACE: dict[str, dict[str, Any]] = {
    "ViT": {"image_processor_type": "ViTImageProcessor", "size": {"height": 224, "width": 224}, "resample": 2, **_HALF},
    "ViT, defaults": {"image_processor_type": "ViTImageProcessorFast"},
    "ViT, old": {"feature_extractor_type": "ViTFeatureExtractor", "size": 384, "resample": 3, **_HALF},
    "ViT, a list": {"image_processor_type": "ViTImageProcessor", "size": [96, 96], "resample": 2, **_HALF},
    "DeiT": {"image_processor_type": "DeiTImageProcessor", "size": {"height": 256, "width": 256}, "resample": 3},
    "DeiT, old": {"feature_extractor_type": "DeiTFeatureExtractor", "size": 438, "crop_size": 384, "resample": 3},
    "DINOv2": {
        "image_processor_type": "BitImageProcessor",
        "size": {"shortest_edge": 256},
        "crop_size": {"height": 224, "width": 224},
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
    },
    "CLIP": {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 225}, "crop_size": 224},
    "not normalised": {"image_processor_type": "ViTImageProcessor", "do_normalize": False},
}


def network_input(preprocessing: Preprocessing, image: Image.Image) -> NDArray[np.float32]:
    """Normalised input of the network, float32 (3, H, W)."""
    pixels = torch.from_numpy(preprocessing(image))[None]
    mean, std = torch.tensor(preprocessing.mean), torch.tensor(preprocessing.std)
    return normalise(pixels, mean, std, torch.float32)[0].numpy()


@pytest.mark.parametrize("config", TIMM)
def test_timm(config: str) -> None:
    from timm.data import create_transform, resolve_data_config

    theirs = create_transform(**resolve_data_config({}, pretrained_cfg={"input_size": (3, 224, 224), **TIMM[config]}))
    ours = from_timm({"architecture": "vit_tiny_patch16_224", "pretrained_cfg": TIMM[config]})
    for name, photograph in PHOTOGRAPHS.items():
        assert np.array_equal(network_input(ours, photograph), theirs(photograph).numpy()), name


@pytest.mark.parametrize("config", HUGGING_FACE)
def test_hugging_face(config: str) -> None:
    import transformers

    document = HUGGING_FACE[config]
    kind = document.get("image_processor_type") or document["feature_extractor_type"]
    for suffix in ("ImageProcessorFast", "ImageProcessor", "FeatureExtractor"):
        kind = kind.removesuffix(suffix)
    theirs = getattr(transformers, f"{kind}ImageProcessorPil")(**document)
    ours = from_hugging_face(document)
    for name, photograph in PHOTOGRAPHS.items():
        expected = theirs(photograph, return_tensors="np").pixel_values[0]
        assert np.abs(network_input(ours, photograph) - expected).max() <= 1e-6, name


FAMILIES = {
    "vit": ("ViT", {}),
    "vit_msn": ("ViT", _IMAGENET),
    "deit": ("DeiT", _IMAGENET),
    "dinov2": ("Bit", {"size": {"shortest_edge": 256}, **_IMAGENET}),
    "dinov2_with_registers": ("Bit", {"size": {"shortest_edge": 256}, **_IMAGENET}),
}


@pytest.mark.parametrize(("model_type", "published"), FAMILIES.items(), ids=FAMILIES)
def test_families_without_a_preprocessor_file(model_type: str, published: tuple[str, dict[str, Any]]) -> None:
    import transformers

    kind, options = published
    theirs = getattr(transformers, f"{kind}ImageProcessorPil")(**options)
    ours = family_preprocessing(model_type, None, 224)
    for name, photograph in PHOTOGRAPHS.items():
        expected = theirs(photograph, return_tensors="np").pixel_values[0]
        assert np.abs(network_input(ours, photograph) - expected).max() <= 1e-6, name


def test_families_at_the_size_of_their_position_table() -> None:
    sizes = {"vit": (384, 384), "deit": (384, 438), "dinov2": (224, 256)}
    for model_type, (size, resize) in sizes.items():
        preprocessing = family_preprocessing(model_type, None, 518 if model_type == "dinov2" else 384)
        assert (preprocessing.size, preprocessing.resize) == (size, resize), model_type
    assert family_preprocessing("dinov2", 448, 518).resize == 512
    assert FAMILIES.keys() == FAMILY_PROCESSORS.keys() == set(HUGGING_FACE_MODELS)


def test_another_size_keeps_the_crop_ratio() -> None:
    document = {"image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 256}, "crop_size": 224}
    assert (from_hugging_face(document, 448).size, from_hugging_face(document, 448).resize) == (448, 512)
    assert (from_timm(TIMM["augreg"], 384).size, from_timm(TIMM["augreg"], 384).resize) == (384, 426)
    assert at_size(Preprocessing(size=32, resize=40), 64) == Preprocessing(size=64, resize=80)


@pytest.mark.parametrize(
    ("architecture", "mean", "resize"),
    [
        ("vit_base_patch16_224", 0.5, 248),
        ("deit_base_patch16_224", 0.485, 248),
        ("vit_base_patch16_clip_224", 0.48145466, 224),
        ("vit_base_patch14_dinov2", 0.485, 224),
        ("", 0.5, 248),
    ],
)
def test_default_preprocessing_by_architecture(architecture: str, mean: float, resize: int) -> None:
    preprocessing = default_preprocessing(architecture, 224)
    assert (preprocessing.mean[0], preprocessing.resize) == (mean, resize)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"image_processor_type": "MaskFormerImageProcessor"}, r"is for 'MaskFormerImageProcessor'; supported are"),
        ({"do_rescale": False}, "does not rescale by 1/255"),
        ({"rescale_factor": 0.5}, "does not rescale by 1/255"),
        ({"size": {"height": 224, "width": 448}}, "size is 224×448; only square inputs"),
        (
            {"size": {"longest_edge": 224}},
            r"json has size \{'longest_edge': 224\}; expected a number of pixels, \[height",
        ),
        ({"size": [224]}, r"json has size \[224\]; expected"),
        ({"size": {"shortest_edge": "224"}}, r"json has size.shortest_edge '224'; expected"),
        ({"do_center_crop": True, "crop_size": {"height": 0, "width": 0}}, r"json has crop_size \{.*; expected"),
        ({"size": {"shortest_edge": 224}}, "shorter side without a crop; only square inputs"),
        ({"image_mean": [0.5]}, "have 1 values; expected are 3, one for each channel"),
    ],
)
def test_unsupported_hugging_face_configs(document: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        from_hugging_face(document)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"crop_mode": "border"}, r"crop_mode 'border'; supported are center and squash"),
        ({"input_size": (3, 224, 448)}, "input_size is 224×448; only square inputs"),
        ({"interpolation": "random"}, "'random' is not one of nearest, bilinear"),
    ],
)
def test_unsupported_timm_configs(document: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        from_timm(document)


def test_a_crop_larger_than_the_resize_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the crop \(32 pixels\) must be positive and fit into the resize \(16\)"):
        Preprocessing(size=32, resize=16)
