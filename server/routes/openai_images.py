"""Images in JSON as OpenAI's interfaces and their relatives write them: text, or objects around a URL."""

import asyncio
from functools import partial
from typing import Annotated, Literal, Self, TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..errors import BadRequest, ServiceError
from ..http.body import hold, read_body
from ..http.image_inputs import check_count, explain, read_text
from ..http.service import service_of
from ..http.url_fetch import ImageUrl


class UrlObject(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Annotated[str, Field(description="a data URI, or a URL where such are fetched")]
    detail: Annotated[str | None, Field(description="OpenAI's; read by nobody here")] = None


class ImagePart(BaseModel):
    """`{"type": "image_url", "image_url": {"url": …}}` as in OpenAI's messages, or the URL beside the type."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["image_url"] = "image_url"
    image_url: UrlObject | str | None = None
    url: str | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.image_url is None) == (self.url is None):
            raise ValueError("an image has either 'image_url' or 'url'")
        return self

    @property
    def text(self) -> str:
        return self.url or (self.image_url.url if isinstance(self.image_url, UrlObject) else self.image_url) or ""


Image = str | ImagePart
"""Base64, a data URI, or an object around one."""

Body = TypeVar("Body", bound=BaseModel)


async def read_json(request: Request, form: type[Body]) -> Body:
    """The body as `form`, parsed in a thread: it may be megabytes of base64. It names the model that is to answer.

    Raises:
        BadRequest: it is not of that form.
        Overloaded: every model is full, and nothing was read; or as `read_body`.
        UnsupportedMediaType, RequestTooLarge: as `read_body`.
    """
    service_of(request).repository.refuse_if_full()
    body = await read_body(request)
    try:
        return await asyncio.to_thread(form.model_validate_json, body)
    except ValidationError as error:
        raise BadRequest(f"the JSON body is not what {request.url.path} reads: {explain(error)}") from error


async def read_images(request: Request, images: Image | list[Image]) -> list[bytes | ServiceError]:
    """The encoded images in their order, an error where one could not even be read.

    Raises:
        BadRequest, RequestTooLarge: there is none, or there are too many.
    """
    service = service_of(request)
    several = images if isinstance(images, list) else [images]
    check_count(several, service.settings.max_images)

    def read() -> list[bytes | ImageUrl | ServiceError]:
        return [read_text(image.text if isinstance(image, ImagePart) else image) for image in several]

    return await service.urls.replace(await asyncio.to_thread(read), partial(hold, request))
