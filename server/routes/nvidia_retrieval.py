"""Classification route `POST /v1/infer` in the shape of NVIDIA's image retrieval, as AIPerf measures it."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from ..http.error_responses import ERROR_RESPONSES
from ..http.openapi import EXAMPLE_IMAGE, json_request_body
from ..http.run_images import require_all, run_images
from ..http.schemas import ClassScore, ModelName, TopK
from ..http.service import service_of
from .openai_embeddings import Usage
from .openai_images import ImagePart, read_images, read_json

router = APIRouter(tags=["NVIDIA"])


class RetrievalRequest(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    input: list[ImagePart]
    model: ModelName = None
    top_k: TopK = 5


class RetrievalResult(BaseModel):
    index: int
    predictions: Annotated[list[ClassScore], Field(description="most likely first")]


class RetrievalResponse(BaseModel):
    data: Annotated[list[RetrievalResult], Field(description="one per image, in the order sent")]
    model: str
    usage: Usage


@router.post(
    "/v1/infer",
    summary="Classify images, in the shape of image retrieval",
    response_model=RetrievalResponse,
    responses=ERROR_RESPONSES.only(400, 404, 413, 415, 422, 429, 503, 504),
    openapi_extra=json_request_body(RetrievalRequest, one={"input": [{"type": "image_url", "url": EXAMPLE_IMAGE}]}),
)
async def infer(request: Request) -> Response:
    """Endpoint for `aiperf profile --endpoint-type image_retrieval`."""
    service = service_of(request)
    body = await read_json(request, RetrievalRequest)
    service.repository.engine(body.model)
    images = await read_images(request, [*body.input])
    engine = service.repository.engine(body.model)
    run = partial(engine.classify_many, top_k=body.top_k, timeout=service.settings.timeout_ms / 1e3)
    results = require_all(await run_images(images, run, request))
    response = RetrievalResponse(
        data=[
            RetrievalResult(
                index=index,
                predictions=[ClassScore(label=p.label, index=p.index, score=p.score) for p in result.predictions],
            )
            for index, result in enumerate(results)
        ],
        model=engine.name,
        usage=Usage(images=len(results)),
    )
    return Response(response.model_dump_json(), media_type="application/json")
