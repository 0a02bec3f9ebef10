"""Image inputs: the body of a classification request (raw, multipart or JSON) -> its encoded images."""

import base64
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File, FormParser, parse_options_header

from ..errors import BadRequest, ImageError, RequestTooLarge, ServiceError, UnsupportedMediaType
from .body import parse_json
from .schemas import ClassifyParameters, ClassifyRequest
from .url_fetch import ImageUrl

RAW_TYPES = ("", "application/octet-stream", "application/x-www-form-urlencoded")
FILE_FIELDS = ("image", "file")
_EMPTY_IMAGE = "the image is empty (0 bytes)"
_SCHEME = re.compile(r"\s*([a-z][a-z0-9+.-]{0,31}):", re.IGNORECASE)
_STANDARD_ALPHABET = bytes.maketrans(b"-_", b"+/")
_WHITESPACE = b" \t\r\n"
_NOT_BASE64 = re.compile(r"[^A-Za-z0-9+/=_\- \t\r\n]")


@dataclass(frozen=True, slots=True)
class RequestImages:
    """Images in the order sent, with an error in place of one that cannot be read. `parameters`: of a JSON body."""

    images: list[bytes | ImageUrl | ServiceError]
    parameters: ClassifyParameters = field(default_factory=ClassifyParameters)


def parse_body(body: bytes, content_type: str, *, max_images: int) -> RequestImages:
    """Parse a body by its content type; without one, or with curl's default, by its first bytes.

    Raises:
        BadRequest: the body is empty or not valid for its content type.
        UnsupportedMediaType: the content type is not supported.
        RequestTooLarge: more than `max_images` images.
    """
    if not body:
        raise BadRequest("the body is empty; send an image, multipart/form-data or JSON")
    media_type, options = parse_options_header(content_type)
    kind = media_type.decode("latin-1")
    if kind in RAW_TYPES and body.lstrip()[:1] == b"{":
        kind = "application/json"
    if kind == "application/json":
        parsed = _parse_json(body)
    elif kind == "multipart/form-data":
        parsed = RequestImages([*_parse_multipart(body, options.get(b"boundary"), max_images)])
    elif kind in RAW_TYPES or kind.startswith("image/"):
        parsed = RequestImages([body])
    else:
        raise UnsupportedMediaType(
            f"content type {kind!r} is not supported; use image/*, application/octet-stream, multipart/form-data "
            "or application/json"
        )
    check_image_count(parsed.images, max_images)
    return parsed


def check_image_count(images: Sequence[object], max_images: int) -> None:
    """Check the number of images in a request.

    Raises:
        BadRequest: there are none.
        RequestTooLarge: there are more than `max_images`.
    """
    if not images:
        raise BadRequest("the request contains no images; send at least one")
    if len(images) > max_images:
        raise too_many_images(max_images)


def too_many_images(max_images: int) -> RequestTooLarge:
    """Error for a request with more than `max_images` images."""
    return RequestTooLarge(f"a request may contain at most {max_images} images; split it into several requests")


def parse_image_text(text: str) -> bytes | ImageUrl | ServiceError:
    """Image given as text in JSON: base64, a data URI, or a URL, which the caller fetches."""
    if _uri_scheme(text) in ("http", "https"):
        return ImageUrl(text.strip())
    try:
        return decode_image_text(text) or ImageError(_EMPTY_IMAGE)
    except BadRequest as error:
        return error


def decode_image_text(text: str) -> bytes:
    """Bytes of an image given as base64 or as a data URI.

    Base64 is read as common tools write it: in lines, in the URL-safe alphabet, without padding.

    Raises:
        BadRequest: the text is another URI, or not base64.
    """
    scheme = _uri_scheme(text)
    if scheme not in ("", "data"):
        raise BadRequest(f"an image with URI scheme {scheme!r} cannot be read here; send base64 or a data URI")
    if scheme:
        header, comma, text = text.partition(",")
        if not comma or not header.lower().endswith(";base64"):
            raise BadRequest("a data URI must have the form data:image/png;base64,…")
    with suppress(ValueError):  # the common case first: rewriting megabytes takes as long as decoding them
        return base64.b64decode(text, validate=True)
    try:
        encoded = text.encode("ascii").translate(_STANDARD_ALPHABET, _WHITESPACE)
        padding = b"" if encoded.endswith(b"=") else b"=" * (-len(encoded) % 4)
        return base64.b64decode(encoded + padding, validate=True)
    except ValueError as error:
        found = _NOT_BASE64.search(text)
        reason = f"{found[0]!r} at position {found.start()} is not in its alphabet" if found else str(error)
        raise BadRequest(f"the image is not valid base64: {reason}") from error


def _uri_scheme(text: str) -> str:
    """Scheme of a URI in lower case, or an empty string: base64 has no colon."""
    match = _SCHEME.match(text)
    return match[1].lower() if match else ""


def _parse_json(body: bytes) -> RequestImages:
    request = parse_json(body, ClassifyRequest)
    texts = [request.inputs] if isinstance(request.inputs, str) else request.inputs
    return RequestImages([parse_image_text(text) for text in texts], request.parameters)


def _parse_multipart(body: bytes, boundary: bytes | None, max_images: int) -> list[bytes | ServiceError]:
    images: list[bytes | ServiceError] = []
    finished: list[bool] = []

    def add(field_name: bytes | None, content: bytes | None) -> None:
        name = (field_name or b"").decode("utf-8", "replace")
        if name not in FILE_FIELDS:
            raise BadRequest(
                f"unknown form field {name!r}; send images as 'image' or 'file' and parameters in the query string"
            )
        if len(images) == max_images:
            raise too_many_images(max_images)
        images.append(content or ImageError(_EMPTY_IMAGE))

    def on_file(file: File) -> None:
        file.file_object.seek(0)
        add(file.field_name, file.file_object.read())

    def on_field(part: Field) -> None:
        add(part.field_name, part.value)

    if not boundary:
        raise BadRequest("the content type multipart/form-data has no boundary parameter")
    config = {"MAX_MEMORY_FILE_SIZE": len(body)}  # no temporary files: the body is in memory already
    try:
        parser = FormParser(
            "multipart/form-data", on_field, on_file, lambda: finished.append(True), boundary=boundary, config=config
        )
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise BadRequest(f"the multipart body is malformed: {error}") from error
    if not finished:
        raise BadRequest("the multipart body is truncated: its closing boundary is missing")
    if not images:
        raise BadRequest("the form contains no file; send the image in a field 'image' or 'file'")
    return images
