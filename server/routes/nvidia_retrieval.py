"""`POST /v1/infer`: the shape of NVIDIA's image retrieval services, which AIPerf's `image_retrieval` loads."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from ..http.error_responses import ERRORS
from ..http.openapi import EXAMPLE_IMAGE, json_body
from ..http.run_images import all_of, answer_readable
from ..http.schemas import PredictionAnswer, TopK
from ..http.service import service_of
from .openai_embeddings import Usage
from .openai_images import ImagePart, read_images, read_json

router = APIRouter(tags=["NVIDIA"])


class InferBody(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    input: list[ImagePart]
    model: Annotated[str | None, Field(description="a served model's name; default: the first one served")] = None
    top_k: TopK = 5


class InferResult(BaseModel):
    index: int
    predictions: Annotated[list[PredictionAnswer], Field(description="most likely first")]


class InferAnswer(BaseModel):
    data: Annotated[list[InferResult], Field(description="one per image, in the order sent")]
    model: str
    usage: Usage


@router.post(
    "/v1/infer",
    summary="Classify images as image retrieval services are asked",
    response_model=InferAnswer,
    responses=ERRORS.only(400, 404, 413, 415, 422, 429, 503, 504),
    openapi_extra=json_body(InferBody, one={"input": [{"type": "image_url", "url": EXAMPLE_IMAGE}]}),
)
async def infer(request: Request) -> Response:
    """`aiperf profile --endpoint-type image_retrieval` measures the service through this."""
    service = service_of(request)
    body = await read_json(request, InferBody)
    service.repository.engine(body.model)
    images = await read_images(request, [*body.input])
    engine = service.repository.engine(body.model)
    run = partial(engine.classify_many, top_k=body.top_k, timeout=service.settings.timeout_ms / 1e3)
    results = all_of(await answer_readable(images, run, request))
    answer = InferAnswer(
        data=[
            InferResult(
                index=index,
                predictions=[PredictionAnswer(label=p.label, index=p.index, score=p.score) for p in result.predictions],
            )
            for index, result in enumerate(results)
        ],
        model=engine.name,
        usage=Usage(images=len(results)),
    )
    return Response(answer.model_dump_json(), media_type="application/json")
