"""Image inputs: bodies of every content type become images, in order, with errors in place."""

import base64
import json
from collections.abc import Callable

import httpx
import pytest

from tessella.server.errors import BadRequest, RequestTooLarge, ServiceError, UnsupportedMediaType
from tessella.server.http.image_inputs import check_image_count, parse_body, parse_image_text
from tessella.server.http.url_fetch import ImageUrl

from ...support import pictures

IMAGE = b"\x89PNG image"
TEXT = base64.b64encode(IMAGE).decode()


def form(*parts: tuple[str, bytes]) -> bytes:
    lines = [
        b'--x\r\nContent-Disposition: form-data; name="%b"; filename="a"\r\n\r\n' % n.encode() + c for n, c in parts
    ]
    return b"\r\n".join([*lines, b"--x--\r\n"])


@pytest.mark.parametrize("content_type", ["image/png", "", "application/octet-stream"])
def test_a_raw_body_is_one_image(content_type: str) -> None:
    assert parse_body(IMAGE, content_type, max_images=1).images == [IMAGE]


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", ""])
def test_json_has_images_in_order_and_parameters(content_type: str) -> None:
    body = {"inputs": [TEXT, "?", "https://example.org/a.png"], "parameters": {"top_k": 2}}
    parsed = parse_body(json.dumps(body).encode(), content_type, max_images=3)
    assert parsed.images[0] == IMAGE
    assert isinstance(parsed.images[1], BadRequest)
    assert parsed.images[2] == ImageUrl("https://example.org/a.png")
    assert parsed.parameters.top_k == 2


def test_a_form_has_images_in_order_and_an_empty_one_is_an_error_in_place() -> None:
    body = form(("image", IMAGE), ("file", b""), ("image", IMAGE))
    first, empty, last = parse_body(body, "multipart/form-data; boundary=x", max_images=3).images
    assert (first, last) == (IMAGE, IMAGE)
    assert isinstance(empty, ServiceError)


@pytest.mark.parametrize(
    ("body", "content_type", "error", "message"),
    [
        (b"", "image/png", BadRequest, "the body is empty"),
        (IMAGE, "text/html", UnsupportedMediaType, "content type 'text/html' is not supported"),
        (b"[1]", "application/json", BadRequest, "invalid JSON body"),
        (form(("photo", IMAGE)), "multipart/form-data; boundary=x", BadRequest, "unknown form field 'photo'"),
        (form(("image", IMAGE))[:-4], "multipart/form-data; boundary=x", BadRequest, "truncated"),
        (form(*[("image", IMAGE)] * 3), "multipart/form-data; boundary=x", RequestTooLarge, "at most 2 images"),
        (json.dumps({"inputs": [TEXT] * 3}).encode(), "", RequestTooLarge, "at most 2 images"),
    ],
)
def test_invalid_bodies(body: bytes, content_type: str, error: type[ServiceError], message: str) -> None:
    with pytest.raises(error, match=message):
        parse_body(body, content_type, max_images=2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("%%%", "not valid base64"),
        ("", "empty"),
        ("data:image/png,a", "data URI"),
        ("data:image/png;base64", "data URI"),
        ("data:image/png;base64,a\u00e9==", "'\u00e9' at position 1 is not in its alphabet"),
        ("eA==eA==", "not valid base64"),
        ("eA=", "not valid base64: Incorrect padding"),
        ("eAAAA", "not valid base64"),
        ("file:///a.png", "URI scheme 'file' cannot be read here; send base64 or a data URI"),
        ("S3://bucket/a.png", "URI scheme 's3'"),
        ("C:\\a.png", "URI scheme 'c'"),
    ],
)
def test_invalid_image_texts_are_errors_not_exceptions(text: str, message: str) -> None:
    error = parse_image_text(text)
    assert isinstance(error, ServiceError)
    assert message in str(error)


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,", "DATA:image/png;BASE64,", "data:;base64,"])
@pytest.mark.parametrize(
    "encode",
    [base64.b64encode, base64.encodebytes, base64.urlsafe_b64encode, lambda raw: base64.b64encode(raw).rstrip(b"=")],
    ids=["standard", "in lines", "URL-safe", "without padding"],
)
@pytest.mark.parametrize("raw", [IMAGE, b"\xfb\xff" * 99, b"\xfb\xff" * 100])
def test_base64_as_common_tools_write_it(raw: bytes, encode: Callable[[bytes], bytes], prefix: str) -> None:
    text = prefix + encode(raw).decode()
    for written in (text, f" {text}\r\n", text.replace("\n", "\r\n")):
        assert parse_image_text(written) == raw


ROUTES: dict[str, Callable[[str], dict[str, object]]] = {
    "/classify": lambda text: {"inputs": text},
    "/": lambda text: {"inputs": text},
    "/models/digits-vit": lambda text: {"inputs": text},
    "/v1/embeddings": lambda text: {"input": text},
    "/v1/infer": lambda text: {"input": [{"url": text}]},
    "/v2/models/digits-vit/infer": lambda text: {
        "inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [text]}]
    },
}


@pytest.mark.parametrize("path", ROUTES)
def test_every_route_reads_base64_in_lines_and_names_other_schemes(service: str, path: str) -> None:
    image = pictures.encode(pictures.gradient())
    answer = httpx.post(service + path, json=ROUTES[path](base64.encodebytes(image).decode()))
    assert answer.status_code == 200, answer.text
    answer = httpx.post(service + path, json=ROUTES[path]("file:///a.png"))
    assert answer.status_code == 400
    assert "URI scheme 'file'" in answer.text


def test_urls_in_capitals_are_urls() -> None:
    assert parse_image_text("HTTPS://example.org/a.png\n") == ImageUrl("HTTPS://example.org/a.png")


def test_the_number_of_images_has_both_limits() -> None:
    check_image_count([IMAGE] * 2, 2)
    with pytest.raises(BadRequest, match="contains no images"):
        check_image_count([], 2)
    with pytest.raises(RequestTooLarge, match="at most 2 images"):
        check_image_count([IMAGE] * 3, 2)
