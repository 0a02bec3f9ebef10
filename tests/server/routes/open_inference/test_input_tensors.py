"""Input tensors: normalised pixels are recovered exactly, invalid values rejected, and base64 read as written."""

import base64

import numpy as np
import pytest
from numpy.typing import DTypeLike

from tessella.models.preprocessing.images import Pixels
from tessella.models.preprocessing.preprocess import Preprocessing
from tessella.server.errors import BadRequest
from tessella.server.routes.open_inference.input_tensors import denormalize, extract_images
from tessella.server.routes.open_inference.requests import InputTensor

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


def encoded(*elements: object) -> list[bytes | Pixels]:
    return extract_images([InputTensor("image", "BYTES", (len(elements),), elements)], preprocessing("none"), 9)


def test_images_in_json_are_base64_as_common_tools_write_it() -> None:
    raw = b"\xfb\xff" * 100
    in_lines, url_safe = base64.encodebytes(raw).decode(), base64.urlsafe_b64encode(raw).decode().rstrip("=")
    assert encoded(in_lines, url_safe, f"DATA:image/png;BASE64,{url_safe}", raw) == [raw] * 4


@pytest.mark.parametrize(("element", "message"), [("s3://b/a.png", "URI scheme 's3'"), ("%", "'%' at"), (7, "not int")])
def test_other_elements_are_rejected(element: object, message: str) -> None:
    with pytest.raises(BadRequest, match=f"elements of input 'image' must be base64 text.*{message}"):
        encoded(element)
