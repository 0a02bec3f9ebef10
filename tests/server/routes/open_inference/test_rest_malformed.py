"""REST requests that no client library sends, over a socket: each gets an error that names the mistake, none a 500."""

import gzip
import json
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from tessella.server.settings import Settings

from ....support.gated_runner import SIDE, GatedRunner
from ....support.live import Gated, gated
from ....support.pictures import encode, huge_header

RED = encode(Image.new("RGB", (SIDE, SIDE), (7, 0, 0)))
INFER = "/v2/models/gated/infer"
LENGTH = "inference-header-content-length"
PIXELS = {"name": "pixels", "datatype": "UINT8", "shape": [1, SIDE, SIDE, 3], "data": [7] * SIDE * SIDE * 3}
LIMIT = 200_000
MAX_IMAGES = 40


@pytest.fixture(scope="module")
def live() -> Iterator[Gated]:
    settings = Settings(model=("gated",), max_images=MAX_IMAGES, max_body_bytes=LIMIT)
    with gated(GatedRunner(), settings) as live:
        yield live


def post(live: Gated, body: bytes | dict[str, Any], **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(live.url + INFER, content=content, headers=named)


def one(**changes: Any) -> dict[str, Any]:
    """Request with one input `pixels` and changes to it; None removes a key."""
    return {"inputs": [{key: value for key, value in (PIXELS | changes).items() if value is not None}]}


def raw(header: dict[str, Any], tensors: bytes) -> tuple[bytes, str]:
    text = json.dumps(header).encode()
    return text + tensors, str(len(text))


def image(size: int | None, shape: list[int] | None = None) -> dict[str, Any]:
    """Request with one input `image` whose elements follow in binary."""
    parameters = {} if size is None else {"parameters": {"binary_data_size": size}}
    return {"inputs": [{"name": "image", "datatype": "BYTES", "shape": shape or [1], **parameters}]}


def element(content: bytes) -> bytes:
    return struct.pack("<I", len(content)) + content


def test_json_requests_get_json_responses(live: Gated) -> None:
    answer = post(live, one() | {"id": "x"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    response = answer.json()
    assert (response["model_name"], response["model_version"], response["id"]) == ("gated", "1", "x")
    assert [(o["name"], o["shape"]) for o in response["outputs"]] == [
        ("logits", [1, 256]),
        ("probabilities", [1, 256]),
    ]
    assert np.argmax(response["outputs"][0]["data"]) == 7
    assert answer.headers["x-batch-size"] == "1"
    nested = np.full((1, SIDE, SIDE, 3), 7).tolist()
    assert post(live, one(data=nested)).json()["outputs"] == response["outputs"]


def test_a_raw_body_is_one_image(live: Gated) -> None:
    """`curl --data-binary @red.png -H 'Inference-Header-Content-Length: 0'`"""
    answer = post(live, RED, inference_header_content_length="0")
    assert answer.headers["content-type"] == "application/octet-stream"
    size = int(answer.headers[LENGTH])
    response = json.loads(answer.content[:size])
    logits, probabilities = response["outputs"]
    assert logits["parameters"] == probabilities["parameters"] == {"binary_data_size": 1024}
    assert np.frombuffer(answer.content[size : size + 1024], np.float32).argmax() == 7
    assert np.frombuffer(answer.content[size + 1024 :], np.float32).sum() == pytest.approx(1)


def test_the_size_of_a_single_binary_input_is_optional(live: Gated) -> None:
    body, length = raw(image(None), element(RED))
    assert np.argmax(post(live, body, inference_header_content_length=length).json()["outputs"][0]["data"]) == 7


def test_compressed_bodies(live: Gated) -> None:
    body, length = raw(image(len(RED) + 4), element(RED))
    for encoding, packed in (("gzip", gzip.compress(body)), ("deflate", zlib.compress(body)), ("identity", body)):
        answer = post(live, packed, inference_header_content_length=length, content_encoding=encoding)
        assert answer.status_code == 200, answer.text


BOMB = gzip.compress(b" " * 50_000_000, mtime=0)
JUST_JSON = json.dumps(one()).encode()


@pytest.mark.parametrize(
    ("body", "headers", "status", "reason"),
    [
        (b"", {}, 400, "the body is empty"),
        (b"", {LENGTH: "0"}, 400, "the body is empty"),
        (b"text", {LENGTH: "0"}, 400, "not an image"),
        (huge_header(), {LENGTH: "0"}, 413, "pixels"),
        (b"{", {}, 400, "not valid JSON"),
        (b"\xff", {}, 400, "not valid JSON"),
        (b"[" * 100_000, {}, 400, "recursion limit"),
        (b'{"inputs":' + b"[" * 150 + b"]" * 150 + b"}", {}, 400, "an input must be a JSON object"),
        (b'{"id":' + b"1" * 10_000 + b"}", {}, 400, "not valid JSON"),
        (b"[]", {}, 400, "the request must be a JSON object"),
        (b"{}", {}, 400, "exactly one input"),
        (JUST_JSON, {LENGTH: "-1"}, 400, "must be a number of bytes"),
        (JUST_JSON, {LENGTH: "1e3"}, 400, "must be a number of bytes"),
        (JUST_JSON, {LENGTH: "9" * 30}, 400, "must be a number of bytes"),
        (JUST_JSON, {LENGTH: "999999"}, 400, "but the body has only"),
        (JUST_JSON, {LENGTH: "10"}, 400, "not valid JSON"),
        (JUST_JSON + b"rest", {LENGTH: str(len(JUST_JSON))}, 400, "4 bytes after the JSON belong to no input"),
        (b"x" * (LIMIT + 1), {}, 413, "the request body exceeds 200,000 bytes"),
        (BOMB, {"content-encoding": "gzip"}, 413, "the decompressed body exceeds 200,000 bytes"),
        (zlib.compress(b" " * 50_000_000), {"content-encoding": "deflate"}, 413, "the decompressed body exceeds"),
        (b"plain", {"content-encoding": "gzip"}, 400, "not valid gzip data"),
        (gzip.compress(JUST_JSON, mtime=0)[:-9], {"content-encoding": "gzip"}, 400, "truncated"),
        (gzip.compress(JUST_JSON, mtime=0) + b"x", {"content-encoding": "gzip"}, 400, "followed by other data"),
        (JUST_JSON, {"content-encoding": "br"}, 415, "content encoding 'br'"),
    ],
)
def test_malformed_bodies(live: Gated, body: bytes, headers: dict[str, str], status: int, reason: str) -> None:
    answer = httpx.post(live.url + INFER, content=body, headers=headers)
    assert (answer.status_code, reason in answer.json()["error"]) == (status, True), answer.text


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"inputs": 3}, "'inputs' must be a list"),
        ({"inputs": [3]}, "an input must be a JSON object"),
        ({"inputs": [PIXELS, PIXELS]}, "input 'pixels' is given more than once"),
        ({"inputs": [PIXELS, PIXELS | {"name": "image"}]}, "exactly one input"),
        ({"inputs": [PIXELS] * 100}, "at most 16 are accepted"),
        (one(name=None), "needs 'name' as a string"),
        (one(name=7), "needs 'name' as a string"),
        (one(name="text"), "unknown input 'text'; available inputs: image, pixels, pixel_values"),
        (one(datatype=None), "needs 'datatype' as a string"),
        (one(datatype="FP32"), "input 'pixels' must have datatype UINT8, not 'FP32'"),
        (one(name="pixel_values"), "must have datatype FP32 or FP16, not 'UINT8'"),
        (one(shape=None), "'shape' must be a list"),
        (one(shape="8"), "'shape' must be a list"),
        (one(shape=[1] * 9), "at most 8"),
        (one(shape=[-1, SIDE, SIDE, 3]), "dimensions must be integers from 0"),
        (one(shape=[1.0, SIDE, SIDE, 3]), "dimensions must be integers from 0"),
        (one(shape=[True, SIDE, SIDE, 3]), "dimensions must be integers from 0"),
        (one(shape=[2**63, SIDE, SIDE, 3]), "dimensions must be integers from 0"),
        (one(shape=[]), "must have shape [N, 8, 8, 3], not []"),
        (one(shape=[0, SIDE, SIDE, 3], data=[]), "is empty"),
        (one(shape=[1, 3, SIDE, SIDE]), "must have shape [N, 8, 8, 3]"),
        (one(shape=[2, SIDE, SIDE, 3]), "has 192 elements, but its shape [2, 8, 8, 3] requires 384"),
        (one(data=None), "needs 'data'"),
        (one(data="text"), "'data' must be a list"),
        (one(data=[]), "has 0 elements"),
        (one(data=[256] * 192), "integers from 0 to 255"),
        (one(data=[-1] * 192), "integers from 0 to 255"),
        (one(data=[10**30] * 192), "must be UINT8 numbers"),
        (one(data=[0.5] * 192), "must be UINT8 numbers"),
        (one(data=["7"] * 192), "must be UINT8 numbers"),
        (one(data=[None] * 192), "must be UINT8 numbers"),
        (one(data=[[1, 2], [3]]), "ragged or nested too deeply"),
        (one(data=[{}] * 192), "must be UINT8 numbers"),
        (one(parameters=[]), "must be a JSON object"),
        (one(parameters={"binary_data_size": 192}), "both 'data' and 'binary_data_size'"),
        (one(data=None, parameters={"binary_data_size": 192}), "only 0 bytes of the body remain"),
        (one(data=None, parameters={"binary_data_size": -1}), "needs 'data'"),
        (one(data=None, parameters={"binary_data_size": "192"}), "needs 'data'"),
        (one(name="image", datatype="BYTES", shape=[1], data=[7]), "base64 text"),
        (one(name="image", datatype="BYTES", shape=[1], data=["?"]), "base64 text"),
        (one(name="image", datatype="BYTES", shape=[1], data=[[["eA=="]]]), "base64 text"),
        (one(name="image", datatype="BYTES", shape=[2], data=["eA=="]), "has 1 elements, but its shape [2] requires 2"),
        (one(name="image", datatype="BYTES", shape=[1, 2], data=["eA==", "eA=="]), "must have shape [N], not [1, 2]"),
        (one() | {"id": 7}, "needs 'id' as a string"),
        (one() | {"parameters": 7}, "must be a JSON object"),
        (one() | {"parameters": {"binary_data_output": 1}}, "'binary_data_output' must be true or false"),
        (one() | {"parameters": {"priority": "high"}}, "'priority' must be an integer"),
        (one() | {"parameters": {"timeout": -5}}, "'timeout' must be an integer"),
        (one() | {"parameters": {"timeout": 1e3}}, "'timeout' must be an integer"),
        (one() | {"outputs": {}}, "'outputs' must be a list"),
        (one() | {"outputs": [{}]}, "an output needs 'name'"),
        (one() | {"outputs": [{"name": "boxes"}]}, "unknown output 'boxes'; available outputs: logits, probabilities"),
        (one() | {"outputs": [{"name": "logits"}] * 2}, "output 'logits' is given more than once"),
        (one() | {"outputs": [{"name": "logits", "parameters": {"classification": -1}}]}, "'classification' must be"),
        (one() | {"outputs": [{"name": "logits", "parameters": {"binary_data": "yes"}}]}, "'binary_data' must be"),
    ],
)
def test_malformed_requests(live: Gated, request_: dict[str, Any], reason: str) -> None:
    answer = post(live, request_)
    assert (answer.status_code, reason in answer.json()["error"]) == (400, True), answer.text


@pytest.mark.parametrize(
    ("header", "tensors", "reason"),
    [
        (image(3), b"\x01\x00\x00", "truncated within the length of element 0"),
        (image(8), struct.pack("<I", 2**31) + b"text", "has a length of 2147483648 bytes, but only 4 follow"),
        (image(10), element(b"text") + b"\x00" * 2, "truncated within the length of element 1"),
        (image(8, [2]), element(b"text"), "has 1 elements, but its shape [2] requires 2"),
        (image(8), element(b"text"), "not an image"),
        (image(0), b"", "has 0 elements"),
        (one(data=None, parameters={"binary_data_size": 10}), b"x" * 10, "must have 192 bytes, not 10"),
        (one(data=None, parameters={"binary_data_size": 11}), b"x" * 10, "only 10 bytes of the body remain"),
    ],
)
def test_malformed_tensors(live: Gated, header: dict[str, Any], tensors: bytes, reason: str) -> None:
    body, length = raw(header, tensors)
    answer = post(live, body, inference_header_content_length=length)
    assert (answer.status_code, reason in answer.json()["error"]) == (400, True), answer.text


@pytest.mark.parametrize("binary", [False, True])
def test_the_maximum_number_of_images(live: Gated, binary: bool) -> None:
    pixels = np.zeros((MAX_IMAGES, SIDE, SIDE, 3), np.uint8)
    pixels[:, 0, 0, 0] = np.arange(MAX_IMAGES)
    outputs = {"outputs": [{"name": "probabilities", "parameters": {"binary_data": binary}}]}
    answer = post(live, one(shape=[MAX_IMAGES, SIDE, SIDE, 3], data=pixels.ravel().tolist()) | outputs)
    response = json.loads(answer.content[: int(answer.headers.get(LENGTH, len(answer.content)))])
    (output,) = response["outputs"]
    assert output["shape"] == [MAX_IMAGES, 256]
    values = output.get("data") or np.frombuffer(answer.content[int(answer.headers[LENGTH]) :], np.float32)
    assert np.reshape(values, (MAX_IMAGES, 256)).argmax(-1).tolist() == list(range(MAX_IMAGES))


def test_too_many_images(live: Gated) -> None:
    count = MAX_IMAGES + 1
    answer = post(live, one(shape=[count, SIDE, SIDE, 3], data=[7] * SIDE * SIDE * 3 * count))
    assert (answer.status_code, answer.json()["error_type"]) == (413, "too_large")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/nowhere", 404),
        ("GET", "/v2/models/gated/nothing", 404),
        ("GET", "/v2/models/unknown", 404),
        ("GET", "/v2/models/gated/versions/9", 404),
        ("GET", "/v2/models/gated/versions/-1/config", 404),
        ("GET", "/v2/models/unknown/stats", 404),
        ("GET", INFER, 405),
        ("DELETE", "/v2", 405),
        ("GET", "/v2/models/gated/trace/setting", 501),
        ("POST", "/v2/models/gated/generate", 501),
        ("POST", "/v2/systemsharedmemory/region/x/register", 501),
    ],
)
def test_errors_have_the_shape_of_the_protocol(live: Gated, method: str, path: str, status: int) -> None:
    answer = httpx.request(method, live.url + path)
    assert answer.status_code == status
    assert isinstance(answer.json()["error"], str)


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"ready": 1}', b'{"parameters": 3}'])
def test_malformed_repository_requests(live: Gated, body: bytes) -> None:
    path = "models/gated/load" if b"parameters" in body else "index"
    answer = httpx.post(f"{live.url}/v2/repository/{path}", content=body)
    assert (answer.status_code, answer.json()["error_type"]) == (400, "bad_request")
    assert len(httpx.post(f"{live.url}/v2/repository/index", content=b'{"ready": true}').json()) == 1


def test_load_and_unload_reject_other_origins(live: Gated) -> None:
    for change in ("load", "unload"):
        url = f"{live.url}/v2/repository/models/gated/{change}"
        answer = httpx.post(url, headers={"origin": "https://example.org"})
        assert (answer.status_code, answer.json()["error_type"]) == (403, "forbidden")
