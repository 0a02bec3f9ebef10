"""GPU resize: the bytes of `Preprocessing`, in PyTorch and in Triton's interpreter."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from tessella.kernels.options import Options
from tessella.models.preprocessing import gpu_resize
from tessella.models.preprocessing.gpu_resize import DeviceResize
from tessella.models.preprocessing.images import (
    InputImage,
    preprocessed_pixels,
)
from tessella.models.preprocessing.preprocess import Preprocessing
from tessella.models.preprocessing.preprocessor_configs import default_preprocessing, from_hugging_face, from_timm
from tessella.models.registry import describe

TRITON, TORCH = Options("triton"), Options("torch")
CPU = torch.device("cpu")
CONFIGS = {
    "timm": Preprocessing(size=32, resize=36),
    "hugging face": Preprocessing(size=31, resize=36, interpolation="bilinear", crop="floor"),
    "squash": Preprocessing(size=30, resize=33, mode="squash"),
    "whole": Preprocessing(size=24, resize=24, interpolation="bilinear", mode="squash"),
    "odd": Preprocessing(size=27, resize=32),
}


def noise_images(count: int, largest: int, seed: int = 0) -> list[NDArray[np.uint8]]:
    """Noise images of random sizes, some a few pixels wide, some of extreme aspect ratios."""
    generator = np.random.default_rng(seed)
    sides = generator.integers(1, largest, (count, 2))
    sides[::5, generator.integers(0, 2)] = generator.integers(1, 4, len(sides[::5]))
    return [generator.integers(0, 256, (height, width, 3), np.uint8) for height, width in sides.tolist()]


@pytest.mark.parametrize("name", CONFIGS)
def test_many_sizes_at_once(name: str) -> None:
    preprocessing, images = CONFIGS[name], noise_images(60, 150, seed=len(name))
    inputs = [InputImage(image, preprocessed=False) for image in images]
    resized = DeviceResize(preprocessing, CPU, TORCH)(inputs).numpy()
    for image, pixels in zip(images, resized, strict=True):
        assert np.array_equal(pixels, preprocessing(Image.fromarray(image))), image.shape
    interpreted = DeviceResize(preprocessing, CPU, TRITON)(inputs[:12]).numpy()
    assert np.array_equal(interpreted, resized[:12])


@pytest.mark.parametrize(
    "preprocessing",
    [
        describe("digits-vit").preprocessing,
        describe("digits-tnt").preprocessing,
        from_timm({}),
        from_timm({"input_size": (3, 384, 384), "crop_pct": 1.0, "interpolation": "bilinear", "crop_mode": "squash"}),
        from_hugging_face({"image_processor_type": "ViTImageProcessor", "size": {"height": 224, "width": 224}}),
        from_hugging_face({"image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 256}, "resample": 3}),
        default_preprocessing("vit_base_patch14_dinov2", 518),
    ],
    ids=["digits-vit", "digits-tnt", "timm", "squash", "vit", "bit", "dinov2"],
)
def test_preprocessing_of_checkpoints(preprocessing: Preprocessing) -> None:
    images = [image for image in noise_images(12, 700, seed=5) if min(image.shape[:2]) > 3]
    resized = DeviceResize(preprocessing, CPU, TORCH)(
        [InputImage(image, preprocessed=False) for image in images]
    ).numpy()
    for image, pixels in zip(images, resized, strict=True):
        assert np.array_equal(pixels, preprocessing(Image.fromarray(image))), image.shape


@pytest.mark.parametrize("options", [TORCH, TRITON], ids=["torch", "triton"])
def test_preprocessed_images_pass_unchanged_among_others(options: Options) -> None:
    preprocessing = CONFIGS["timm"]
    inputs = [InputImage(image, preprocessed=False) for image in noise_images(4, 90)]
    prepared = [InputImage(preprocessing(Image.fromarray(image.pixels))) for image in inputs]
    mixed = [inputs[0], prepared[1], prepared[2], inputs[3]]
    assert np.array_equal(
        DeviceResize(preprocessing, CPU, options)(mixed).numpy(), np.stack(preprocessed_pixels(prepared))
    )


def test_images_need_not_be_contiguous() -> None:
    (image,) = noise_images(1, 90, seed=3)
    mirrored = image[:, ::-1]
    resized = DeviceResize(CONFIGS["odd"], CPU, TORCH)([InputImage(mirrored, preprocessed=False)])[0]
    assert np.array_equal(resized.numpy(), CONFIGS["odd"](Image.fromarray(mirrored.copy())))


def test_a_large_batch_is_packed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_resize, "MAX_PACKED_BYTES", 30_000)
    preprocessing, images = CONFIGS["timm"], noise_images(20, 120, seed=1)
    resize = DeviceResize(preprocessing, CPU, TORCH)
    inputs = [InputImage(image, preprocessed=False) for image in images]
    batches = resize.pack(inputs)
    assert [image for packed in batches for image in packed.images] == inputs
    assert len(batches) > 5
    for packed in batches:
        assert len(packed.images) == 1 or max(packed.plan.bytes, packed.plan.scratch) <= 30_000
    expected = np.stack([preprocessing(Image.fromarray(image)) for image in images])
    assert np.array_equal(resize(inputs).numpy(), expected)


def test_invalid_images_are_refused() -> None:
    resize = DeviceResize(CONFIGS["timm"], CPU, TORCH)
    for image, message in (
        (InputImage(np.zeros((32, 31, 3), np.uint8)), r"\(32, 32, 3\) of a preprocessed image, got 32 × 31 × 3"),
        (InputImage(np.zeros((8, 8), np.uint8), preprocessed=False), "got uint8 of 8 × 8"),
        (InputImage(np.zeros((0, 8, 3), np.uint8), preprocessed=False), "8×0 pixels cannot be resized"),
        (InputImage(np.zeros((1, 60_000, 3), np.uint8), preprocessed=False), "less extreme aspect ratio"),
    ):
        with pytest.raises(ValueError, match=message):
            resize([image])
    with pytest.raises(ValueError, match="at least one"):
        resize([])
    with pytest.raises(ValueError, match=r"'lanczos' is not available on the device, which has bilinear and bicubic"):
        DeviceResize(Preprocessing(size=8, resize=8, interpolation="lanczos"), CPU)
