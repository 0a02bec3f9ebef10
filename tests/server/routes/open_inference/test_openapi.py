"""OpenAPI descriptions of inference: the example is a request that the parser accepts, and names what exists."""

import json

import jsonschema

from tessella.models.preprocessing.preprocess import Preprocessing
from tessella.server.routes.open_inference.input_tensors import INPUTS, extract_images
from tessella.server.routes.open_inference.metadata import OUTPUTS
from tessella.server.routes.open_inference.openapi import INFER_BODY, INFER_RESPONSES
from tessella.server.routes.open_inference.rest_codec import HEADER_LENGTH, read_request

JSON = INFER_BODY["requestBody"]["content"]["application/json"]


def test_the_example_is_a_valid_request() -> None:
    jsonschema.validate(JSON["example"], JSON["schema"])
    request = read_request(json.dumps(JSON["example"]).encode(), None)
    (image,) = extract_images(request.inputs, Preprocessing(size=2, resize=2), 1)
    assert isinstance(image, bytes)
    assert image.startswith(b"\x89PNG")


def test_names_and_datatypes_are_those_of_the_code() -> None:
    properties = JSON["schema"]["properties"]
    inputs, outputs = (properties[kind]["items"]["properties"] for kind in ("inputs", "outputs"))
    assert inputs["name"]["enum"] == list(INPUTS)
    assert set(inputs["datatype"]["enum"]) == {datatype for datatypes in INPUTS.values() for datatype in datatypes}
    assert outputs["name"]["enum"] == list(OUTPUTS)
    assert INFER_BODY["parameters"][0]["name"].lower() == HEADER_LENGTH


def test_responses_are_json_or_binary() -> None:
    assert set(INFER_RESPONSES[200]["content"]) == {"application/json", "application/octet-stream"}
