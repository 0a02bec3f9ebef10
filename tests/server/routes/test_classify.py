"""Classification route over real sockets: all content types, parameters, and invalid input."""

import base64
import json
import re
import socket
import urllib.parse
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from PIL import Image

from ...support import pictures

PNG = pictures.encode(pictures.gradient())
JPEG = pictures.encode(pictures.gradient(), "JPEG")
TEXT = b"this is a text file"


@pytest.fixture(scope="module")
def client(service: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service, timeout=60) as client:
        yield client


def body_of(response: httpx.Response, status: int = 200) -> dict[str, Any]:
    assert response.status_code == status, response.text
    answer: dict[str, Any] = response.json()
    return answer


def assert_failure(response: httpx.Response, status: int, error_type: str, message: str = "") -> None:
    failure = body_of(response, status)
    assert set(failure) == {"error", "error_type"}
    assert failure["error_type"] == error_type
    assert message in failure["error"]
    assert response.headers["x-request-id"]


def top(result: dict[str, Any]) -> tuple[int, float]:
    best = result["predictions"][0]
    return best["index"], round(best["score"], 4)


def inputs(*images: bytes) -> list[str]:
    return [base64.b64encode(image).decode() for image in images]


def test_all_content_types_give_the_same_result(client: httpx.Client) -> None:
    raw = body_of(client.post("/classify", content=PNG, headers={"content-type": "image/png"}))
    assert raw["model"] == "digits-vit"
    assert len(raw["results"][0]["predictions"]) == 5
    assert raw["batch_sizes"] == [1]
    assert set(raw["timings_ms"]) == {"decode", "queue", "inference", "total"}
    expected = top(raw["results"][0])
    data_uri = "data:image/png;base64," + inputs(PNG)[0]
    for response in [
        client.post("/classify", content=PNG, headers={"content-type": "application/octet-stream"}),
        client.post("/classify", content=PNG, headers={"content-type": ""}),
        client.post("/classify", content=PNG, headers={"content-type": "image/jpeg"}),
        client.post("/classify", content=PNG, headers={"content-type": "application/x-www-form-urlencoded"}),
        client.post("/classify", files={"image": PNG}),
        client.post("/classify", files={"file": ("a.png", PNG, "image/png")}),
        client.post("/classify", json={"inputs": inputs(PNG)[0]}),
        client.post("/classify", json={"inputs": inputs(PNG)}),
        client.post("/classify", json={"inputs": data_uri}),
        client.post("/classify", content=json.dumps({"inputs": data_uri}), headers={"content-type": ""}),
    ]:
        assert top(body_of(response)["results"][0]) == expected


def test_a_missing_content_type_is_inferred(service: str) -> None:
    host = urllib.parse.urlsplit(service)
    with socket.create_connection((host.hostname or "", host.port or 0)) as connection:
        head = f"POST /classify HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(PNG)}\r\n\r\n"
        connection.sendall(head.encode() + PNG)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200")


def test_parameters_in_the_query_and_in_the_body(client: httpx.Client) -> None:
    in_query = body_of(client.post("/classify?model=digits-tnt&top_k=2", content=PNG))
    assert in_query["model"] == "digits-tnt"
    assert len(in_query["results"][0]["predictions"]) == 2
    parameters = {"model": "digits-tnt", "top_k": 3, "timeout_ms": 30_000, "priority": 1}
    in_body = body_of(client.post("/classify?top_k=2", json={"inputs": inputs(PNG), "parameters": parameters}))
    assert in_body["model"] == "digits-tnt"
    assert len(in_body["results"][0]["predictions"]) == 3


def test_results_are_in_order_with_errors_in_place(client: httpx.Client) -> None:
    black, white = (pictures.encode(Image.new("L", (8, 8), level)) for level in (0, 255))
    single = [top(body_of(client.post("/classify", content=image))["results"][0]) for image in (PNG, black, white)]
    parts = [("image", PNG), ("file", TEXT), ("image", black), ("image", b""), ("image", white)]
    answer = body_of(client.post("/classify", files=parts))
    results = answer["results"]
    assert [top(results[index]) for index in (0, 2, 4)] == single
    assert [results[index]["error_type"] for index in (1, 3)] == ["invalid_image", "invalid_image"]
    assert [size > 0 for size in answer["batch_sizes"]] == [True, False, True, False, True]
    mixed = body_of(client.post("/classify", json={"inputs": [*inputs(PNG), "%%%", *inputs(white)]}))["results"]
    assert [top(mixed[0]), mixed[1]["error_type"], top(mixed[2])] == [single[0], "bad_request", single[2]]


def test_responses_have_timings_and_an_id(client: httpx.Client) -> None:
    response = client.post("/classify", content=PNG, headers={"x-request-id": "my-own-id"})
    assert response.headers["x-request-id"] == response.json()["id"] == "my-own-id"
    assert response.headers["x-batch-size"] == "1"
    assert 0 < float(response.headers["x-inference-time"]) < float(response.headers["x-total-time"])
    for other in [client.get("/healthz"), client.get("/nowhere"), client.get("/"), client.post("/classify")]:
        assert {"x-request-id", "x-queue-time", "x-inference-time", "x-total-time", "x-batch-size"} <= set(
            other.headers
        )
    spoofed = client.get("/healthz", headers={"x-request-id": "x" * 500})
    assert len(spoofed.headers["x-request-id"]) == 32


GOOD_IMAGES = {
    "one pixel": pictures.encode(Image.new("RGB", (1, 1), "red")),
    "cmyk": pictures.cmyk(),
    "16 bit": pictures.grey_16_bit(),
    "palette": pictures.palette_with_transparency(),
    "animated": pictures.animated(),
    "rotated by exif": pictures.rotated_by_exif(),
    "alpha": pictures.encode(pictures.gradient().convert("RGBA")),
    "bilevel": pictures.encode(pictures.gradient().convert("1")),
    "very wide": pictures.encode(Image.new("RGB", (2000, 3))),
}


@pytest.mark.parametrize("image", GOOD_IMAGES.values(), ids=GOOD_IMAGES.keys())
def test_unusual_images_are_classified(client: httpx.Client, image: bytes) -> None:
    results = body_of(client.post("/classify", content=image))["results"]
    assert sum(prediction["score"] for prediction in results[0]["predictions"]) <= 1.0001


BAD_IMAGES = {
    "text": (TEXT, 422, "invalid_image", "not an image"),
    "truncated": (pictures.truncated_jpeg(), 422, "invalid_image", "damaged"),
    "huge header": (pictures.huge_header(), 413, "too_large", "pixels"),
    "above the limit": (pictures.encode(Image.new("1", (1001, 1000))), 413, "too_large", "at most 1,000,000 pixels"),
    "absurd shape": (pictures.encode(Image.new("1", (900_000, 1))), 413, "too_large", "aspect ratio"),
    "empty": (b"", 400, "bad_request", "the body is empty"),
}


@pytest.mark.parametrize(("image", "status", "kind", "message"), BAD_IMAGES.values(), ids=BAD_IMAGES.keys())
def test_invalid_images(client: httpx.Client, image: bytes, status: int, kind: str, message: str) -> None:
    headers = {"content-type": "image/jpeg"}
    assert_failure(client.post("/classify", content=image, headers=headers), status, kind, message)
    if image:
        assert_failure(client.post("/classify", files={"image": ("cat.jpg", image)}), status, kind, message)
        assert_failure(client.post("/classify", json={"inputs": inputs(image)}), status, kind, message)


BAD_JSON = {
    "not json": ("{", "JSON"),
    "5,000 nested brackets": ("[" * 5000, "JSON"),
    "5,000 nested inputs": ('{"inputs": ' + "[" * 5000 + "]" * 5000 + "}", "JSON"),
    "a list": ("[1]", "JSON"),
    "no inputs": ('{"image": "x"}', "inputs"),
    "inputs of numbers": ('{"inputs": [1]}', "inputs"),
    "no images": ('{"inputs": []}', "contains no images"),
    "wrong base64": ('{"inputs": "%%%"}', "base64"),
    "a URL": ('{"inputs": "https://example.org/cat.jpg"}', "fetching image URLs is disabled"),
    "a data URI without base64": ('{"inputs": "data:image/png,abc"}', "data:image/png;base64"),
    "an unknown parameter": ('{"inputs": "aGk=", "parameters": {"topk": 3}}', "topk"),
    "top_k of the wrong type": ('{"inputs": "aGk=", "parameters": {"top_k": "many"}}', "top_k"),
    "not UTF-8": (b'{"inputs": "\xff\xfe"}', "JSON"),
}


@pytest.mark.parametrize(("content", "message"), BAD_JSON.values(), ids=BAD_JSON.keys())
def test_invalid_json(client: httpx.Client, content: str | bytes, message: str) -> None:
    response = client.post("/classify", content=content, headers={"content-type": "application/json"})
    assert_failure(response, 400, "bad_request", message)


BAD_FORMS = {
    "no boundary": ("multipart/form-data", b"--x\r\n", "boundary"),
    "cut off": (
        "multipart/form-data; boundary=x",
        b'--x\r\nContent-Disposition: form-data; name="image"\r\n\r\nab',
        "truncated",
    ),
    "garbage": ("multipart/form-data; boundary=x", b"garbage", "malformed"),
    "another field": (
        "multipart/form-data; boundary=x",
        b'--x\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\nab\r\n--x--\r\n',
        "'photo'",
    ),
    "nothing in it": ("multipart/form-data; boundary=x", b"--x--\r\n", "no file"),
}


@pytest.mark.parametrize(("content_type", "content", "message"), BAD_FORMS.values(), ids=BAD_FORMS.keys())
def test_invalid_forms(client: httpx.Client, content_type: str, content: bytes, message: str) -> None:
    response = client.post("/classify", content=content, headers={"content-type": content_type})
    assert_failure(response, 400, "bad_request", message)


def test_other_content_types_are_415(client: httpx.Client) -> None:
    for content_type in ("text/plain", "application/xml", "video/mp4"):
        response = client.post("/classify", content=PNG, headers={"content-type": content_type})
        assert_failure(response, 415, "unsupported_media_type", content_type)
    compressed = client.post("/classify", content=PNG, headers={"content-encoding": "gzip"})
    assert_failure(compressed, 415, "unsupported_media_type", "compressed")


@pytest.mark.parametrize(
    ("query", "status", "kind"),
    [
        ("top_k=0", 400, "bad_request"),
        ("top_k=-1", 400, "bad_request"),
        ("top_k=x", 400, "bad_request"),
        ("timeout_ms=0", 400, "bad_request"),
        ("timeout_ms=nan", 400, "bad_request"),
        ("priority=101", 400, "bad_request"),
        ("topk=3", 400, "bad_request"),
        ("model=resnet50", 404, "model_not_found"),
        ("model=", 404, "model_not_found"),
    ],
)
def test_invalid_parameters(client: httpx.Client, query: str, status: int, kind: str) -> None:
    assert_failure(client.post(f"/classify?{query}", content=PNG), status, kind, query.split("=")[0])


def test_an_unknown_model_lists_the_served_ones(client: httpx.Client) -> None:
    response = client.post("/classify", json={"inputs": inputs(PNG), "parameters": {"model": "resnet50"}})
    assert_failure(
        response, 404, "model_not_found", "model 'resnet50' is not served; available: digits-vit, digits-tnt"
    )


def test_the_maximum_number_of_images_is_64(client: httpx.Client) -> None:
    for request in ({"files": [("image", PNG)] * 65}, {"json": {"inputs": inputs(*[PNG] * 65)}}):
        assert_failure(client.post("/classify", **request), 413, "too_large", "at most 64 images")
    assert len(body_of(client.post("/classify", files=[("image", PNG)] * 64))["results"]) == 64


@pytest.mark.parametrize("chunked", [False, True])
def test_a_70_megabyte_body_is_rejected(client: httpx.Client, chunked: bool) -> None:
    block = bytes(1_000_000)
    content = (block for _ in range(70)) if chunked else block * 70
    assert_failure(client.post("/classify", content=content), 413, "too_large", "exceeds 2,000,000 bytes")
    assert body_of(client.post("/classify", content=PNG))["results"]


def test_wrong_methods_and_paths(client: httpx.Client) -> None:
    response = client.get("/classify")
    assert_failure(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "POST"
    assert_failure(client.post("/healthz"), 405, "method_not_allowed")
    assert_failure(client.get("/nowhere"), 404, "not_found", "/nowhere")
    assert_failure(client.get("/models/resnet50"), 404, "model_not_found", "resnet50")
    assert_failure(client.get("/ui/../app.py"), 404, "not_found")


def test_models_and_health(client: httpx.Client) -> None:
    answer = body_of(client.get("/models"))
    assert answer["default"] == "digits-vit"
    assert [(model["name"], model["family"]) for model in answer["models"]] == [
        ("digits-vit", "vit"),
        ("digits-tnt", "tnt"),
    ]
    assert body_of(client.get("/models/digits-tnt")) == answer["models"][1]
    assert answer["models"][0]["labels"] == [str(digit) for digit in range(10)]
    assert body_of(client.get("/healthz")) == {"status": "alive"}
    for path in ("/readyz", "/health", "/ping"):
        assert body_of(client.get(path)) == {"status": "ready"}


def test_documentation_lists_all_errors(client: httpx.Client) -> None:
    operation = body_of(client.get("/openapi.json"))["paths"]["/classify"]["post"]
    assert set(operation["responses"]) == {"200", "400", "401", "404", "413", "415", "422", "429", "503", "504"}
    assert set(operation["requestBody"]["content"]) == {
        "image/*",
        "application/octet-stream",
        "multipart/form-data",
        "application/json",
    }


def test_the_documentation_page_loads_no_external_assets(client: httpx.Client) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    assets = re.findall(r"""(?:href|src)=["']([^"']+)""", page.text)
    assert len(assets) >= 3
    assert [client.get(asset).status_code for asset in assets] == [200] * len(assets)
    assert all(asset.startswith("/") for asset in assets)
