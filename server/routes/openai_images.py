"""Images in the JSON of OpenAI's API and APIs modelled on it: text, or objects with a URL."""

import asyncio
from functools import partial
from typing import Annotated, Literal, Self, TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..errors import ServiceError
from ..http.body import parse_json, read_body, reserve_bytes
from ..http.image_inputs import check_image_count, parse_image_text
from ..http.service import service_of
from ..http.url_fetch import ImageUrl

Model = TypeVar("Model", bound=BaseModel)


class UrlObject(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Annotated[str, Field(description="data URI, or an http(s) URL if the service fetches URLs")]
    detail: Annotated[str | None, Field(description="accepted for compatibility with OpenAI's API; ignored")] = None


class ImagePart(BaseModel):
    """Image as `{"type": "image_url", "image_url": {"url": …}}`, OpenAI's content part, or `{"url": …}`."""

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
"""Base64, a data URI, or an object with one."""


async def read_json(request: Request, model: type[Model]) -> Model:
    """Body of a request, validated as `model` in a thread, as it may contain megabytes of base64.

    Raises:
        BadRequest: it is not valid.
        Overloaded: the queues of all models are full, and nothing was read; or as `read_body`.
        UnsupportedMediaType, RequestTooLarge: as `read_body`.
    """
    service_of(request).repository.reject_if_full()
    return await asyncio.to_thread(parse_json, await read_body(request), model)


async def read_images(request: Request, images: Image | list[Image]) -> list[bytes | ServiceError]:
    """Encoded images in their order, with an error in place of one that cannot be read.

    Raises:
        BadRequest: there are none.
        RequestTooLarge: there are too many.
    """
    service = service_of(request)
    several = images if isinstance(images, list) else [images]
    check_image_count(several, service.settings.max_images)

    def parse() -> list[bytes | ImageUrl | ServiceError]:
        return [parse_image_text(image.text if isinstance(image, ImagePart) else image) for image in several]

    return await service.url_fetcher.fetch_all(await asyncio.to_thread(parse), partial(reserve_bytes, request))
