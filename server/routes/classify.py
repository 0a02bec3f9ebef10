"""Classification route `POST /classify`: the most likely classes of one or more images."""

import asyncio
import base64
from collections.abc import Sequence
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from ..engine.results import Classification, Explanation
from ..engine.tasks import Task
from ..errors import ServiceError
from ..http.body import read_body, reserve_bytes
from ..http.error_responses import ERROR_RESPONSES
from ..http.image_inputs import RequestImages, parse_body
from ..http.openapi import EXAMPLE_IMAGE, inline_refs
from ..http.request_context import RequestContext
from ..http.run_images import run_images
from ..http.schemas import (
    ClassifyParameters,
    ClassifyRequest,
    ClassifyResponse,
    ClassScore,
    ErrorResponse,
    ExplanationResponse,
    Predictions,
    Timings,
)
from ..http.service import Service, service_of

router = APIRouter()
ATTENTION_DECIMALS = 7

_WITHOUT_PARAMETERS = ("image/", "multipart/")
"""Content types that cannot name a model in the body, as JSON can."""
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_FORM_SCHEMA = {
    "schema": {
        "type": "object",
        "properties": {"image": {"type": "array", "items": {"type": "string", "format": "binary"}}},
        "required": ["image"],
        "additionalProperties": False,
    }
}
_REQUEST_BODY = {
    "required": True,
    "description": "An image file, several in a multipart form, or base64 in JSON.",
    "content": {
        "image/*": _BINARY,
        "application/octet-stream": _BINARY,
        "multipart/form-data": _FORM_SCHEMA,
        "application/json": {
            "schema": inline_refs(ClassifyRequest.model_json_schema()),
            "examples": {
                "one": {"value": {"inputs": EXAMPLE_IMAGE}},
                "several": {"value": {"inputs": [EXAMPLE_IMAGE] * 2, "parameters": {"top_k": 2}}},
            },
        },
    },
}


@router.post(
    "/classify",
    summary="Classify one or more images",
    response_model=ClassifyResponse,
    responses=ERROR_RESPONSES.only(400, 404, 413, 415, 422, 429, 503, 504),
    openapi_extra={"requestBody": _REQUEST_BODY},
)
async def classify(request: Request, query: Annotated[ClassifyParameters, Query()]) -> Response:
    """Results in the order sent. Of several images, an invalid one is an error at its index; a single one is a 4xx."""
    service = service_of(request)
    engine = service.repository.engine(query.model)  # reject an unknown model before the body is read
    if request.headers.get("content-type", "").startswith(_WITHOUT_PARAMETERS):
        engine.admission.reject_if_full()
    else:
        service.repository.reject_if_full()
    parsed = await _read(request, service)
    parameters = query.model_copy(update=parsed.parameters.model_dump(exclude_unset=True))
    images = await service.url_fetcher.fetch_all(parsed.images, partial(reserve_bytes, request))
    engine = service.repository.engine(parameters.model)  # again: it may have been replaced meanwhile
    run = partial(
        engine.classify_many,
        top_k=parameters.top_k,
        timeout=(parameters.timeout_ms or service.settings.timeout_ms) / 1e3,
        priority=parameters.priority,
        explain=Task[parameters.explain.upper()] if parameters.explain else None,
    )
    results = await run_images(images, run, request)
    if len(results) == 1 and isinstance(results[0], ServiceError):
        raise results[0]
    response = _response(results, engine.name, request.state.context)
    return Response(response.model_dump_json(exclude_none=True), media_type="application/json")


async def _read(request: Request, service: Service) -> RequestImages:
    """Read the body, and parse it in a thread unless it is an image: it may contain megabytes of base64."""
    body = await read_body(request)
    content_type = request.headers.get("content-type", "")
    parse = partial(parse_body, body, content_type, max_images=service.settings.max_images)
    return parse() if content_type.startswith("image/") else await asyncio.to_thread(parse)


def _response(
    results: Sequence[Classification | ServiceError], model: str, context: RequestContext
) -> ClassifyResponse:
    done = [result for result in results if isinstance(result, Classification)]
    return ClassifyResponse(
        id=context.id,
        model=model,
        results=[_result(result) for result in results],
        batch_sizes=[result.batch_size if isinstance(result, Classification) else 0 for result in results],
        timings_ms=Timings(
            decode=_ms(max((result.decode_seconds + result.input_seconds for result in done), default=0.0)),
            queue=_ms(context.queue_seconds),
            inference=_ms(context.inference_seconds),
            total=_ms(context.total_seconds),
        ),
    )


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 3)


def _result(result: Classification | ServiceError) -> Predictions | ErrorResponse:
    if isinstance(result, ServiceError):
        return ErrorResponse(error=str(result), error_type=result.error_type)
    predictions = [ClassScore(label=p.label, index=p.index, score=p.score) for p in result.predictions]
    if result.explanation is None:
        return Predictions(predictions=predictions)
    return Predictions(predictions=predictions, explain=_explanation(result.explanation))


def _explanation(explanation: Explanation) -> ExplanationResponse:
    layers, *grid = explanation.values.shape
    return ExplanationResponse(
        method="attention" if explanation.task == Task.ATTENTION else "rollout",
        layers=layers,
        grid=grid,
        values=explanation.values.astype(float).round(ATTENTION_DECIMALS).tolist(),
        overlay_png=base64.b64encode(explanation.overlay).decode(),
    )
