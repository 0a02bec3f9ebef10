"""`POST /v1/embeddings`: images in, feature vectors out, in the shape of OpenAI's embeddings."""

import base64
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Request, Response
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

from ..engine.tasks import Task
from ..http.error_responses import OPENAI_ERRORS
from ..http.openapi import EXAMPLE_IMAGE, json_body
from ..http.run_images import all_of, answer_readable
from ..http.service import service_of
from .openai_images import Image, read_images, read_json

router = APIRouter(tags=["OpenAI"])
TASKS = {None: Task.FEATURES, "cls": Task.CLS_FEATURES, "mean": Task.MEAN_FEATURES}


class EmbeddingsBody(BaseModel):
    """Images, and the form of what they become."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: Annotated[Image | list[Image], Field(description="one image or several: base64, data URIs, objects")]
    model: Annotated[str | None, Field(description="a served model's name; default: the first one served")] = None
    encoding_format: Annotated[Literal["float", "base64"], Field(description="base64: of little-endian float32")] = (
        "float"
    )
    pooling: Annotated[
        Literal["cls", "mean"] | None,
        Field(description="the class token, or the mean of the patches; default: what the checkpoint's head reads"),
    ] = None
    normalize: Annotated[bool, Field(strict=True, description="scale each vector to length 1")] = False
    dimensions: Annotated[None, Field(description="not supported: a network's features are not to be cut")] = None
    user: Annotated[str | None, Field(description="OpenAI's; read by nobody here")] = None

    @field_validator("dimensions", mode="before")
    @classmethod
    def _refuse(cls, value: Any) -> None:
        if value is not None:
            raise ValueError("these features cannot be cut to fewer dimensions; leave it out")


class Embedding(BaseModel):
    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class Usage(BaseModel):
    """No text is read: there are no tokens."""

    prompt_tokens: int = 0
    total_tokens: int = 0
    images: int


class EmbeddingsAnswer(BaseModel):
    object: Literal["list"] = "list"
    data: Annotated[list[Embedding], Field(description="one per image, in the order sent")]
    model: str
    usage: Usage


@router.post(
    "/v1/embeddings",
    summary="Feature vectors of images",
    response_model=EmbeddingsAnswer,
    responses=OPENAI_ERRORS.only(400, 404, 413, 415, 422, 429, 503, 504),
    openapi_extra=json_body(
        EmbeddingsBody,
        one={"input": EXAMPLE_IMAGE, "model": "digits-vit"},
        several={"input": [EXAMPLE_IMAGE, {"image_url": {"url": EXAMPLE_IMAGE}}], "normalize": True},
    ),
)
async def embeddings(request: Request) -> Response:
    """Any client of OpenAI's embeddings asks here. One bad image makes the whole request an error, which names it."""
    service = service_of(request)
    body = await read_json(request, EmbeddingsBody)
    service.repository.engine(body.model).require(TASKS[body.pooling])
    images = await read_images(request, body.input)
    engine = service.repository.engine(body.model)
    run = partial(engine.run_many, task=TASKS[body.pooling], timeout=service.settings.timeout_ms / 1e3)
    outputs = all_of(await answer_readable(images, run, request))
    vectors = [_scaled(output.values) if body.normalize else output.values for output in outputs]
    answer = EmbeddingsAnswer(
        data=[
            Embedding(index=index, embedding=_encoded(vector) if body.encoding_format == "base64" else vector.tolist())
            for index, vector in enumerate(vectors)
        ],
        model=engine.name,
        usage=Usage(images=len(vectors)),
    )
    return Response(answer.model_dump_json(), media_type="application/json")


def _scaled(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    return vector / max(float(np.linalg.norm(vector)), float(np.finfo(np.float32).tiny))


def _encoded(vector: NDArray[np.float32]) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()
