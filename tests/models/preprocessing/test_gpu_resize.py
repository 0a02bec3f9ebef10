"""ImageBatch resized by the device are what the recipe makes of them, byte for byte; in Triton's interpreter here."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from tessella.kernels.options import Options
from tessella.models.preprocessing import gpu_resize
from tessella.models.preprocessing.gpu_resize import DeviceResize
from tessella.models.preprocessing.images import (
    MAX_DEVICE_RESIZE_SIDE,
    InputImage,
    all_preprocessed,
    preprocessed_pixels,
    resizable_on_device,
)
from tessella.models.preprocessing.preprocess import Preprocessing
from tessella.models.preprocessing.preprocessor_configs import default_preprocessing, from_hugging_face, from_timm
from tessella.models.registry import describe, load_model

TRITON, TORCH = Options("triton"), Options("torch")
CPU = torch.device("cpu")
RECIPES = {
    "timm": Preprocessing(size=32, resize=36),
    "hugging face": Preprocessing(size=31, resize=36, interpolation="bilinear", crop="floor"),
    "squash": Preprocessing(size=30, resize=33, mode="squash"),
    "whole": Preprocessing(size=24, resize=24, interpolation="bilinear", mode="squash"),
    "odd": Preprocessing(size=27, resize=32),
}


def photographs(count: int, largest: int, seed: int = 0) -> list[NDArray[np.uint8]]:
    """Of random sizes, some a few pixels wide, some very much wider than high."""
    generator = np.random.default_rng(seed)
    sides = generator.integers(1, largest, (count, 2))
    sides[::5, generator.integers(0, 2)] = generator.integers(1, 4, len(sides[::5]))
    return [generator.integers(0, 256, (height, width, 3), np.uint8) for height, width in sides.tolist()]


@pytest.mark.parametrize("name", RECIPES)
def test_many_sizes_at_once(name: str) -> None:
    recipe, images = RECIPES[name], photographs(60, 150, seed=len(name))
    frames = [InputImage(image, preprocessed=False) for image in images]
    found = DeviceResize(recipe, CPU, TORCH)(frames).numpy()
    for image, pixels in zip(images, found, strict=True):
        assert np.array_equal(pixels, recipe(Image.fromarray(image))), image.shape
    quick = DeviceResize(recipe, CPU, TRITON)(frames[:12]).numpy()
    assert np.array_equal(quick, found[:12])


@pytest.mark.parametrize(
    "recipe",
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
def test_the_recipes_of_checkpoints(recipe: Preprocessing) -> None:
    images = [image for image in photographs(12, 700, seed=5) if min(image.shape[:2]) > 3]
    found = DeviceResize(recipe, CPU, TORCH)([InputImage(image, preprocessed=False) for image in images]).numpy()
    for image, pixels in zip(images, found, strict=True):
        assert np.array_equal(pixels, recipe(Image.fromarray(image))), image.shape


@pytest.mark.parametrize("options", [TORCH, TRITON], ids=["torch", "triton"])
def test_frames_that_are_ready_stay_as_they_are_among_others(options: Options) -> None:
    recipe = RECIPES["timm"]
    frames = [InputImage(image, preprocessed=False) for image in photographs(4, 90)]
    ready = [InputImage(recipe(Image.fromarray(frame.pixels))) for frame in frames]
    mixed = [frames[0], ready[1], ready[2], frames[3]]
    assert np.array_equal(DeviceResize(recipe, CPU, options)(mixed).numpy(), np.stack(preprocessed_pixels(ready)))


def test_frames_need_not_lie_in_one_piece() -> None:
    (image,) = photographs(1, 90, seed=3)
    mirrored = image[:, ::-1]
    found = DeviceResize(RECIPES["odd"], CPU, TORCH)([InputImage(mirrored, preprocessed=False)])[0]
    assert np.array_equal(found.numpy(), RECIPES["odd"](Image.fromarray(mirrored.copy())))


def test_a_batch_of_much_arrives_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_resize, "MAX_PACKED_BYTES", 30_000)
    recipe, images = RECIPES["timm"], photographs(20, 120, seed=1)
    resize = DeviceResize(recipe, CPU, TORCH)
    frames = [InputImage(image, preprocessed=False) for image in images]
    pack = resize.pack(frames)
    assert [frame for packed in pack for frame in packed.images] == frames
    assert len(pack) > 5
    for packed in pack:
        assert len(packed.images) == 1 or max(packed.plan.bytes, packed.plan.scratch) <= 30_000
    expected = np.stack([recipe(Image.fromarray(image)) for image in images])
    assert np.array_equal(resize(frames).numpy(), expected)


def test_what_is_no_frame_of_the_network_is_refused() -> None:
    resize = DeviceResize(RECIPES["timm"], CPU, TORCH)
    for frame, complaint in (
        (InputImage(np.zeros((32, 31, 3), np.uint8)), r"\(32, 32, 3\) of a preprocessed image, got 32 × 31 × 3"),
        (InputImage(np.zeros((8, 8), np.uint8), preprocessed=False), "got uint8 of 8 × 8"),
        (InputImage(np.zeros((0, 8, 3), np.uint8), preprocessed=False), "8×0 pixels cannot be resized"),
        (InputImage(np.zeros((1, 60_000, 3), np.uint8), preprocessed=False), "less extreme aspect ratio"),
    ):
        with pytest.raises(ValueError, match=complaint):
            resize([frame])
    with pytest.raises(ValueError, match="at least one"):
        resize([])
    with pytest.raises(ValueError, match=r"'lanczos' is not available on the device, which has bilinear and bicubic"):
        DeviceResize(Preprocessing(size=8, resize=8, interpolation="lanczos"), CPU)


def test_which_frames_may_be_handed_over() -> None:
    assert resizable_on_device(12_000, 6_900)
    assert resizable_on_device(1, MAX_DEVICE_RESIZE_SIDE)
    assert not resizable_on_device(12_000, 7_000)
    assert not resizable_on_device(1, MAX_DEVICE_RESIZE_SIDE + 1)


def test_a_batch_that_is_ready_has_one_shape() -> None:
    frames = [InputImage(np.full((2, 2, 3), index, np.uint8)) for index in range(3)]
    assert all_preprocessed(frames)
    assert np.array_equal(
        np.stack(preprocessed_pixels(frames)), np.stack(preprocessed_pixels(np.stack(preprocessed_pixels(frames))))
    )
    with pytest.raises(ValueError, match=r"one shape, got 2: \(1, 1, 3\), \(2, 2, 3\)"):
        preprocessed_pixels([*frames, InputImage(np.zeros((1, 1, 3), np.uint8))])


@pytest.mark.parametrize("name", ["digits-vit", "digits-tnt"])
def test_a_classifier_gathers_frames_of_any_size(name: str) -> None:
    ours, plain = load_model(name, backend="triton", dtype="float32"), load_model(name, backend="torch")
    assert (ours.resizes_on_device, plain.resizes_on_device, plain.device_resize) == (True, False, None)
    images = photographs(3, 60)
    ready = [InputImage(ours.preprocess(Image.fromarray(image))) for image in images]
    mixed = [ready[0], *(InputImage(image, preprocessed=False) for image in images[1:])]
    expected = np.stack(preprocessed_pixels(ready))
    for batch in (mixed, ready, expected):
        assert np.array_equal(ours.preprocess_batch(batch).numpy(), expected)
    assert np.array_equal(plain.preprocess_batch(ready).numpy(), expected)
    with pytest.raises(ValueError, match=f"{name} does not resize on its device"):
        plain.preprocess_batch(mixed)
