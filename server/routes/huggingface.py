"""Classification routes `POST /` and `POST /models/{name}` in the shape of Hugging Face's Inference Endpoints."""

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from ..engine.results import Classification, ScoreFunction
from ..errors import ServiceError
from ..http.body import parse_json, read_body, reserve_bytes
from ..http.error_responses import ERROR_RESPONSES
from ..http.image_inputs import RAW_TYPES, check_image_count, parse_body, parse_image_text
from ..http.openapi import EXAMPLE_IMAGE, json_request_body
from ..http.run_images import require_all, run_images
from ..http.schemas import TopK
from ..http.service import service_of
from ..http.url_fetch import ImageUrl

router = APIRouter(tags=["Hugging Face"])


class TaskParameters(BaseModel):
    """Parameters of the task image-classification."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    top_k: TopK = 5
    function_to_apply: Annotated[ScoreFunction, Field(description="function that turns logits into scores")] = "softmax"


class TaskRequest(BaseModel):
    """Image as base64 or a data URI, or a list of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    inputs: str | list[str]
    parameters: TaskParameters | None = None


class LabelScore(BaseModel):
    label: str
    score: float


TaskResponse = list[LabelScore] | list[list[LabelScore]]
_RESPONSE = TypeAdapter[TaskResponse](TaskResponse)
_REQUEST_BODY = json_request_body(
    TaskRequest,
    plain={"inputs": EXAMPLE_IMAGE},
    parameters={"inputs": EXAMPLE_IMAGE, "parameters": {"top_k": 2, "function_to_apply": "sigmoid"}},
)
for _kind in ("image/*", "application/octet-stream"):
    _REQUEST_BODY["requestBody"]["content"][_kind] = {"schema": {"type": "string", "format": "binary"}}
_ERRORS = ERROR_RESPONSES.only(400, 404, 413, 415, 422, 429, 503, 504)


@router.post(
    "/",
    summary="Classify with the default model",
    response_model=TaskResponse,
    responses=_ERRORS,
    openapi_extra=_REQUEST_BODY,
)
async def default_model(request: Request) -> Response:
    """For `huggingface_hub.InferenceClient(model="http://host:port")`: an image as the body, or base64 in JSON."""
    return await _classify(request, None)


@router.post(
    "/models/{name:path}",
    summary="Classify with a named model",
    response_model=TaskResponse,
    responses=_ERRORS,
    openapi_extra=_REQUEST_BODY,
)
async def named_model(request: Request, name: str) -> Response:
    """For `InferenceClient(model="http://host:port/models/NAME")`. Several images are answered with a list of lists."""
    return await _classify(request, name)


async def _classify(request: Request, model: str | None) -> Response:
    service = service_of(request)
    service.repository.engine(model).admission.reject_if_full()  # reject an unknown or busy model before the body
    body, content_type = await read_body(request), request.headers.get("content-type", "")
    parsed = await asyncio.to_thread(_parse, body, content_type, service.settings.max_images)
    images = await service.url_fetcher.fetch_all(parsed.images, partial(reserve_bytes, request))
    engine = service.repository.engine(model)
    run = partial(
        engine.classify_many,
        top_k=parsed.parameters.top_k,
        function=parsed.parameters.function_to_apply,
        timeout=service.settings.timeout_ms / 1e3,
    )
    results = require_all(await run_images(images, run, request))
    scores = [_label_scores(result) for result in results]
    return Response(_RESPONSE.dump_json(scores if parsed.is_list else scores[0]), media_type="application/json")


@dataclass(frozen=True, slots=True)
class _Parsed:
    images: list[bytes | ImageUrl | ServiceError]
    parameters: TaskParameters
    is_list: bool


def _parse(body: bytes, content_type: str, max_images: int) -> _Parsed:
    kind = content_type.partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind in RAW_TYPES and body.lstrip()[:1] == b"{"):
        images = parse_body(body, content_type, max_images=max_images).images
        return _Parsed(images, TaskParameters(), len(images) > 1)
    request = parse_json(body, TaskRequest)
    texts = [request.inputs] if isinstance(request.inputs, str) else request.inputs
    check_image_count(texts, max_images)
    images = [parse_image_text(text) for text in texts]
    return _Parsed(images, request.parameters or TaskParameters(), isinstance(request.inputs, list))


def _label_scores(result: Classification) -> list[LabelScore]:
    return [LabelScore(label=prediction.label, score=prediction.score) for prediction in result.predictions]
