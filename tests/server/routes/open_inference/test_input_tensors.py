"""Input tensors: normalised pixels are recovered exactly, and values out of range are rejected."""

import numpy as np
import pytest
from numpy.typing import DTypeLike

from tessella.models.preprocessing.preprocess import Preprocessing
from tessella.server.errors import BadRequest
from tessella.server.routes.open_inference.input_tensors import denormalize

NORMALISATIONS = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "inception": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}
EVERY = np.stack([np.arange(256), np.arange(256)[::-1], np.roll(np.arange(256), 7)]).astype(np.uint8)
"""(3, 256): all values in each channel."""


def preprocessing(name: str) -> Preprocessing:
    mean, std = NORMALISATIONS[name]
    return Preprocessing(size=16, resize=16, mean=mean, std=std)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("name", NORMALISATIONS)
def test_denormalize_inverts_normalisation(name: str, dtype: DTypeLike) -> None:
    mean, std = (np.array(part, np.float32)[:, None, None] for part in NORMALISATIONS[name])
    images = EVERY.reshape(3, 16, 16)
    values = ((images.astype(np.float32) / 255 - mean) / std).astype(dtype)[None]
    assert np.array_equal(denormalize(values, preprocessing(name)), images.transpose(1, 2, 0)[None])


def test_values_are_rounded_to_the_nearest_pixel() -> None:
    values = np.tile(np.array([100.4, 100.6, 254.9], np.float32)[:, None, None], (1, 16, 16))[None] / 255
    assert denormalize(values, preprocessing("none"))[0, 0, 0].tolist() == [100, 101, 255]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, 255.6 / 255, -0.6 / 255, 255.0])
def test_values_out_of_range_are_rejected(value: float) -> None:
    values = np.zeros((1, 3, 16, 16), np.float32)
    values[0, 1, 2, 3] = value
    with pytest.raises(BadRequest, match=r"they must be between 0 and 1"):
        denormalize(values, preprocessing("none"))
