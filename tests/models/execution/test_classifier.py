"""Classifier: preprocessing on the device, logits, embeddings and input checks."""

import numpy as np
import pytest
import torch
from PIL import Image

from tessella.models.explain.hooks import layer_hooks
from tessella.models.networks.tnt import TNT
from tessella.models.networks.vit import ViT
from tessella.models.preprocessing.images import InputImage, preprocessed_pixels
from tessella.models.registry import load_model


@pytest.mark.parametrize("name", ["digits-vit", "digits-tnt"])
def test_preprocess_batch_takes_images_of_any_size(name: str) -> None:
    ours, plain = load_model(name, backend="triton", dtype="float32"), load_model(name, backend="torch")
    assert (ours.resizes_on_device, plain.resizes_on_device, plain.device_resize) == (True, False, None)
    generator = np.random.default_rng(0)
    images = [generator.integers(0, 256, (*generator.integers(1, 60, 2), 3), np.uint8) for _ in range(3)]
    prepared = [InputImage(ours.preprocess(Image.fromarray(image))) for image in images]
    mixed = [prepared[0], *(InputImage(image, preprocessed=False) for image in images[1:])]
    expected = np.stack(preprocessed_pixels(prepared))
    for batch in (mixed, prepared, expected):
        assert np.array_equal(ours.preprocess_batch(batch).numpy(), expected)
    assert np.array_equal(plain.preprocess_batch(prepared).numpy(), expected)
    with pytest.raises(ValueError, match=f"{name} does not resize on its device"):
        plain.preprocess_batch(mixed)


def test_embeddings_are_pooled_as_requested() -> None:
    model = load_model("digits-vit", backend="torch", dtype="float32")
    pixels = np.random.default_rng(1).integers(0, 256, (2, 24, 24, 3), np.uint8)
    with torch.inference_mode():
        tokens = model.plain.network.norm(
            last_tokens(model.plain.network, model.plain.images(torch.from_numpy(pixels)))
        )
    assert torch.allclose(model.embeddings(pixels), tokens[:, 0], atol=1e-4)
    assert torch.allclose(model.embeddings(pixels, "cls"), tokens[:, 0], atol=1e-4)
    assert torch.allclose(model.embeddings(pixels, "mean"), tokens[:, 1:].mean(dim=1), atol=1e-4)


def last_tokens(network: ViT | TNT, images: torch.Tensor) -> torch.Tensor:
    layers: list[torch.Tensor] = []
    with layer_hooks(network, tokens=layers.append):
        network(images)
    return layers[-1]


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (
            np.zeros((2, 24, 25, 3), np.uint8),
            r"pixels \(B, 24, 24, 3\), got torch.uint8 of 2 × 24 × 25 × 3",
        ),
        (np.zeros((24, 24, 3), np.uint8), "got torch.uint8 of 24 × 24 × 3"),
        (torch.zeros(1, 24, 24, 3), "got torch.float32 of 1 × 24 × 24 × 3"),
    ],
    ids=["size", "rank", "dtype"],
)
def test_other_shapes_and_dtypes_are_refused(pixels: np.ndarray | torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_model("digits-vit", backend="torch").logits(pixels)
