"""`POST /` and `POST /models/{name}`: image classification in the shape of Hugging Face's inference endpoints."""

import asyncio
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ..engine.results import Classification, Function
from ..errors import BadRequest, ServiceError
from ..http.body import hold, read_body
from ..http.error_responses import ERRORS
from ..http.image_inputs import RAW_TYPES, check_count, explain, read_inputs, read_text
from ..http.openapi import EXAMPLE_IMAGE, json_body
from ..http.run_images import all_of, answer_readable
from ..http.schemas import TopK
from ..http.service import service_of
from ..http.url_fetch import ImageUrl

router = APIRouter(tags=["Hugging Face"])


class TaskParameters(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    top_k: TopK = 5
    function_to_apply: Annotated[Function, Field(description="what makes scores of logits")] = "softmax"


class TaskBody(BaseModel):
    """Base64 text, data URIs, or a list of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    inputs: str | list[str]
    parameters: TaskParameters | None = None


class Label(BaseModel):
    label: str
    score: float


Answer = list[Label] | list[list[Label]]
_ANSWER = TypeAdapter[Answer](Answer)
_BODY = json_body(
    TaskBody,
    plain={"inputs": EXAMPLE_IMAGE},
    parameters={"inputs": EXAMPLE_IMAGE, "parameters": {"top_k": 2, "function_to_apply": "sigmoid"}},
)
for _kind in ("image/*", "application/octet-stream"):
    _BODY["requestBody"]["content"][_kind] = {"schema": {"type": "string", "format": "binary"}}
_ERRORS = ERRORS.only(400, 404, 413, 415, 422, 429, 503, 504)


@router.post(
    "/", summary="Classify with the default model", response_model=Answer, responses=_ERRORS, openapi_extra=_BODY
)
async def default_model(request: Request) -> Response:
    """As `huggingface_hub.InferenceClient(model="http://host:port")` asks: the image as it is, or base64 in JSON."""
    return await _classify(request, None)


@router.post(
    "/models/{name:path}",
    summary="Classify with the model of this name",
    response_model=Answer,
    responses=_ERRORS,
    openapi_extra=_BODY,
)
async def named_model(request: Request, name: str) -> Response:
    """As `InferenceClient(model="http://host:port/models/NAME")` asks. For several images: a list for each."""
    return await _classify(request, name)


async def _classify(request: Request, model: str | None) -> Response:
    service = service_of(request)
    service.repository.engine(model).admission.refuse_if_full()  # and an unknown model, before reading megabytes
    body, content_type = await read_body(request), request.headers.get("content-type", "")
    found, parameters, several = await asyncio.to_thread(_read, body, content_type, service.settings.max_images)
    images = await service.urls.replace(found, partial(hold, request))
    engine = service.repository.engine(model)
    run = partial(
        engine.classify_many,
        top_k=parameters.top_k,
        function=parameters.function_to_apply,
        timeout=service.settings.timeout_ms / 1e3,
    )
    results = all_of(await answer_readable(images, run, request))
    lists = [_labels(result) for result in results]
    return Response(_ANSWER.dump_json(lists if several else lists[0]), media_type="application/json")


def _read(
    body: bytes, content_type: str, max_images: int
) -> tuple[list[bytes | ImageUrl | ServiceError], TaskParameters, bool]:
    """The images, the parameters, and whether a list was sent."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind in RAW_TYPES and body.lstrip()[:1] == b"{"):
        inputs = read_inputs(body, content_type, max_images=max_images)
        return inputs.images, TaskParameters(), len(inputs.images) > 1
    try:
        asked = TaskBody.model_validate_json(body)
    except ValidationError as error:
        raise BadRequest(f"the JSON body is not an image-classification request: {explain(error)}") from error
    texts = [asked.inputs] if isinstance(asked.inputs, str) else asked.inputs
    check_count(texts, max_images)
    return [read_text(text) for text in texts], asked.parameters or TaskParameters(), not isinstance(asked.inputs, str)


def _labels(result: Classification) -> list[Label]:
    return [Label(label=prediction.label, score=prediction.score) for prediction in result.predictions]
