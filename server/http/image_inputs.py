"""The body of a classification request -> the encoded images in it, whichever of the three forms it has."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import ValidationError
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File, FormParser, parse_options_header

from ..errors import BadRequest, ImageError, RequestTooLarge, ServiceError, UnsupportedMediaType
from .schemas import ClassifyBody, ClassifyParameters
from .url_fetch import ImageUrl

RAW_TYPES = ("", "application/octet-stream", "application/x-www-form-urlencoded")
FILE_FIELDS = ("image", "file")


@dataclass(frozen=True, slots=True)
class Inputs:
    """Images in the order sent, an error where one could not even be read. `parameters` only from a JSON body."""

    images: list[bytes | ImageUrl | ServiceError]
    parameters: ClassifyParameters = field(default_factory=ClassifyParameters)


def read_inputs(body: bytes, content_type: str, *, max_images: int) -> Inputs:
    """Reads a body by its content type; without one (or with curl's default one) by its first bytes.

    Raises:
        BadRequest: the body is empty, or not what its content type says.
        UnsupportedMediaType: the content type is none of those that are read.
        RequestTooLarge: more than `max_images` images.
    """
    if not body:
        raise BadRequest("the body is empty; send an image, multipart/form-data or JSON")
    media_type, options = parse_options_header(content_type)
    kind = media_type.decode("latin-1")
    if kind in RAW_TYPES and body.lstrip()[:1] == b"{":
        kind = "application/json"
    if kind == "application/json":
        inputs = _read_json(body)
    elif kind == "multipart/form-data":
        inputs = Inputs([*_read_multipart(body, options.get(b"boundary"), max_images)])
    elif kind in RAW_TYPES or kind.startswith("image/"):
        inputs = Inputs([body])
    else:
        raise UnsupportedMediaType(
            f"content type {kind!r} is not read; use image/*, application/octet-stream, multipart/form-data "
            "or application/json"
        )
    check_count(inputs.images, max_images)
    return inputs


def check_count(images: Sequence[object], max_images: int) -> None:
    """Raises BadRequest for no image, RequestTooLarge for more than `max_images`."""
    if not images:
        raise BadRequest("an empty list of images; send at least one")
    if len(images) > max_images:
        raise _too_many(max_images)


def _read_json(body: bytes) -> Inputs:
    try:
        request = ClassifyBody.model_validate_json(body)
    except ValidationError as error:
        raise BadRequest(f"the JSON body is not a classification request: {explain(error)}") from error
    texts = [request.inputs] if isinstance(request.inputs, str) else request.inputs
    return Inputs([read_text(text) for text in texts], request.parameters)


def read_text(text: str) -> bytes | ImageUrl | ServiceError:
    """An image in JSON: base64, a data URI, or a URL, which is for the caller to fetch."""
    if text.startswith(("http://", "https://")):
        return ImageUrl(text)
    if text.startswith("data:"):
        header, comma, text = text.partition(",")
        if not comma or not header.endswith(";base64"):
            return BadRequest("a data URI must have the form data:image/png;base64,…")
    try:
        return base64.b64decode(text, validate=True) or ImageError("the image is empty (0 bytes)")
    except (binascii.Error, ValueError) as error:
        return BadRequest(f"not valid base64: {error}")


def _read_multipart(body: bytes, boundary: bytes | None, max_images: int) -> list[bytes | ServiceError]:
    images: list[bytes | ServiceError] = []
    finished: list[bool] = []

    def add(field_name: bytes | None, content: bytes | None) -> None:
        name = (field_name or b"").decode("utf-8", "replace")
        if name not in FILE_FIELDS:
            raise BadRequest(
                f"form field {name!r} is not read; images go into 'image' or 'file', parameters into the query"
            )
        if len(images) == max_images:
            raise _too_many(max_images)
        images.append(content or ImageError("the image is empty (0 bytes)"))

    def on_file(file: File) -> None:
        file.file_object.seek(0)
        add(file.field_name, file.file_object.read())

    def on_field(part: Field) -> None:
        add(part.field_name, part.value)

    if not boundary:
        raise BadRequest("the content type multipart/form-data has no boundary")
    config = {"MAX_MEMORY_FILE_SIZE": len(body)}  # never spool to disk: the body is in memory already
    try:
        parser = FormParser(
            "multipart/form-data", on_field, on_file, lambda: finished.append(True), boundary=boundary, config=config
        )
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise BadRequest(f"the multipart body is malformed: {error}") from error
    if not finished:
        raise BadRequest("the multipart body is cut off: its closing boundary is missing")
    if not images:
        raise BadRequest("the form has no file; put the image into a field 'image' or 'file'")
    return images


def _too_many(max_images: int) -> RequestTooLarge:
    return RequestTooLarge(f"a request may hold at most {max_images} images; send them in several requests")


def explain(error: ValidationError) -> str:
    """pydantic's findings in one line: where, and what."""
    return "; ".join(
        f"{'.'.join(map(str, part['loc'])) or 'body'}: {part['msg']}" for part in error.errors(include_url=False)[:3]
    )
