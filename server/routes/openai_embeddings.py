"""Embeddings route `POST /v1/embeddings`: feature vectors of images, in the shape of OpenAI's API."""

import base64
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Request, Response
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

from ..engine.tasks import Task
from ..http.error_responses import OPENAI_ERROR_RESPONSES
from ..http.openapi import EXAMPLE_IMAGE, json_request_body
from ..http.run_images import require_all, run_images
from ..http.schemas import ModelName
from ..http.service import service_of
from .openai_images import Image, read_images, read_json

router = APIRouter(tags=["OpenAI"])
TASKS = {None: Task.FEATURES, "cls": Task.CLS_FEATURES, "mean": Task.MEAN_FEATURES}


class EmbeddingsRequest(BaseModel):
    """Images, and the format of their embeddings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: Annotated[Image | list[Image], Field(description="one image or several: base64, data URIs, objects")]
    model: ModelName = None
    encoding_format: Annotated[Literal["float", "base64"], Field(description="base64: of little-endian float32")] = (
        "float"
    )
    pooling: Annotated[
        Literal["cls", "mean"] | None,
        Field(description="class token or mean of the patch tokens; default: the input of the checkpoint's head"),
    ] = None
    normalize: Annotated[bool, Field(strict=True, description="scale each vector to unit L2 norm")] = False
    dimensions: Annotated[None, Field(description="not supported: the features cannot be shortened")] = None
    user: Annotated[str | None, Field(description="accepted for compatibility with OpenAI's API; ignored")] = None

    @field_validator("dimensions", mode="before")
    @classmethod
    def _reject(cls, value: Any) -> None:
        if value is not None:
            raise ValueError("the features cannot be shortened; omit 'dimensions'")


class Embedding(BaseModel):
    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class Usage(BaseModel):
    """Usage of a request: a number of images, and no tokens, as there is no text."""

    prompt_tokens: int = 0
    total_tokens: int = 0
    images: int


class EmbeddingsResponse(BaseModel):
    object: Literal["list"] = "list"
    data: Annotated[list[Embedding], Field(description="one per image, in the order sent")]
    model: str
    usage: Usage


@router.post(
    "/v1/embeddings",
    summary="Compute feature vectors of images",
    response_model=EmbeddingsResponse,
    responses=OPENAI_ERROR_RESPONSES.only(400, 404, 413, 415, 422, 429, 503, 504),
    openapi_extra=json_request_body(
        EmbeddingsRequest,
        one={"input": EXAMPLE_IMAGE, "model": "digits-vit"},
        several={"input": [EXAMPLE_IMAGE, {"image_url": {"url": EXAMPLE_IMAGE}}], "normalize": True},
    ),
)
async def embeddings(request: Request) -> Response:
    """Endpoint for clients of OpenAI's embeddings API. An invalid image fails the request; the error names it."""
    service = service_of(request)
    body = await read_json(request, EmbeddingsRequest)
    service.repository.engine(body.model).require(TASKS[body.pooling])
    images = await read_images(request, body.input)
    engine = service.repository.engine(body.model)
    run = partial(engine.run_many, task=TASKS[body.pooling], timeout=service.settings.timeout_ms / 1e3)
    outputs = require_all(await run_images(images, run, request))
    vectors = [_normalized(output.values) if body.normalize else output.values for output in outputs]
    response = EmbeddingsResponse(
        data=[
            Embedding(index=index, embedding=_base64(vector) if body.encoding_format == "base64" else vector.tolist())
            for index, vector in enumerate(vectors)
        ],
        model=engine.name,
        usage=Usage(images=len(vectors)),
    )
    return Response(response.model_dump_json(), media_type="application/json")


def _normalized(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    return vector / max(float(np.linalg.norm(vector)), float(np.finfo(np.float32).tiny))


def _base64(vector: NDArray[np.float32]) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()
