"""REST codec with generated requests: each gives images or a service error."""

import json
from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tessella.models.preprocessing.preprocess import Preprocessing
from tessella.server.errors import ServiceError
from tessella.server.routes.open_inference.input_tensors import extract_images
from tessella.server.routes.open_inference.rest_codec import read_request

PREPROCESSING = Preprocessing(size=2, resize=2)
SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
NESTED = st.recursive(SCALAR, lambda inner: st.lists(inner, max_size=3), max_leaves=6)
ANY = NESTED | st.dictionaries(st.text(max_size=3), NESTED, max_size=3)
SHAPE = st.lists(st.integers(0, 3), max_size=4) | st.just([1]) | st.just([1, 2, 2, 3]) | st.just([1, 3, 2, 2])
NUMBERS = st.lists(st.integers(-1, 300) | st.floats(), min_size=12, max_size=12)


def sometimes(sensible: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return sensible | sensible | sensible | ANY


INPUT = st.fixed_dictionaries(
    {
        "name": sometimes(st.sampled_from(["image", "pixels", "pixel_values"])),
        "datatype": sometimes(st.sampled_from(["BYTES", "UINT8", "FP32", "FP16"])),
        "shape": sometimes(SHAPE),
    },
    optional={
        "data": sometimes(NUMBERS | st.just(["eA=="])),
        "parameters": sometimes(st.just({}) | st.integers(0, 60).map(lambda size: {"binary_data_size": size})),
    },
)
OUTPUT = st.fixed_dictionaries({"name": sometimes(st.just("logits"))}, optional={"parameters": ANY})
REQUEST = st.fixed_dictionaries(
    {"inputs": sometimes(st.lists(sometimes(INPUT), max_size=2))},
    optional={"outputs": sometimes(st.lists(OUTPUT, max_size=2)), "parameters": ANY, "id": ANY},
)


def read(body: bytes, header_length: str | None) -> None:
    with suppress(ServiceError):
        for image in extract_images(read_request(body, header_length).inputs, PREPROCESSING, 64):
            assert isinstance(image, bytes) or (image.shape, image.dtype.name) == ((2, 2, 3), "uint8")


@settings(max_examples=400, deadline=None)
@given(sometimes(REQUEST), st.binary(max_size=60), st.booleans())
def test_generated_json(request: Any, tensors: bytes, announced: bool) -> None:
    text = json.dumps(request).encode()
    read(text + tensors, str(len(text)) if announced else None)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80), st.none() | st.integers(0, 90).map(str) | st.text(max_size=20))
def test_generated_bytes(body: bytes, header_length: str | None) -> None:
    read(body, header_length)
