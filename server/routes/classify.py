"""`POST /classify`: one or many images in, their most likely classes out."""

import asyncio
import base64
from collections.abc import Sequence
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from ..engine.results import Classification, Explanation
from ..engine.tasks import Task
from ..errors import ServiceError
from ..http.body import hold, read_body
from ..http.error_responses import ERRORS
from ..http.image_inputs import Inputs, read_inputs
from ..http.openapi import EXAMPLE_IMAGE, inlined
from ..http.request_context import RequestContext
from ..http.run_images import answer_readable
from ..http.schemas import (
    ClassifyAnswer,
    ClassifyBody,
    ClassifyParameters,
    ExplanationAnswer,
    Failure,
    PredictionAnswer,
    Predictions,
    Timings,
)
from ..http.service import Service, service_of

router = APIRouter()
DIGITS = 7  # of shares of attention

_NAME_NO_MODEL = ("image/", "multipart/")  # as JSON may
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_FORM = {
    "schema": {
        "type": "object",
        "properties": {"image": {"type": "array", "items": {"type": "string", "format": "binary"}}},
        "required": ["image"],
        "additionalProperties": False,
    }
}
_BODY = {
    "required": True,
    "description": "An image as it is, several as a form, or base64 in JSON.",
    "content": {
        "image/*": _BINARY,
        "application/octet-stream": _BINARY,
        "multipart/form-data": _FORM,
        "application/json": {
            "schema": inlined(ClassifyBody.model_json_schema()),
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
    response_model=ClassifyAnswer,
    responses=ERRORS.only(400, 404, 413, 415, 422, 429, 503, 504),
    openapi_extra={"requestBody": _BODY},
)
async def classify(request: Request, query: Annotated[ClassifyParameters, Query()]) -> Response:
    """A bad image of several is an error in its own place in `results`; a request that is one bad image is a 4xx."""
    service = service_of(request)
    engine = service.repository.engine(query.model)  # refuse an unknown model before reading megabytes
    if request.headers.get("content-type", "").startswith(_NAME_NO_MODEL):
        engine.admission.refuse_if_full()
    else:
        service.repository.refuse_if_full()
    inputs = await _read(request, service)
    parameters = query.model_copy(update=inputs.parameters.model_dump(exclude_unset=True))
    images = await service.urls.replace(inputs.images, partial(hold, request))
    engine = service.repository.engine(parameters.model)  # after the last await: it may have been replaced meanwhile
    run = partial(
        engine.classify_many,
        top_k=parameters.top_k,
        timeout=(parameters.timeout_ms or service.settings.timeout_ms) / 1e3,
        priority=parameters.priority,
        explain=Task[parameters.explain.upper()] if parameters.explain else None,
    )
    results = await answer_readable(images, run, request)
    if len(results) == 1 and isinstance(results[0], ServiceError):
        raise results[0]
    answer = _answer(results, engine.name, request.state.context)
    return Response(answer.model_dump_json(exclude_none=True), media_type="application/json")


async def _read(request: Request, service: Service) -> Inputs:
    """The body; parsed in a thread where that takes time: it may be megabytes of base64."""
    body = await read_body(request)
    content_type = request.headers.get("content-type", "")
    read = partial(read_inputs, body, content_type, max_images=service.settings.max_images)
    return read() if content_type.startswith("image/") else await asyncio.to_thread(read)


def _answer(results: Sequence[Classification | ServiceError], model: str, context: RequestContext) -> ClassifyAnswer:
    done = [result for result in results if isinstance(result, Classification)]
    return ClassifyAnswer(
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


def _result(result: Classification | ServiceError) -> Predictions | Failure:
    if isinstance(result, ServiceError):
        return Failure(error=str(result), error_type=result.error_type)
    predictions = [PredictionAnswer(label=p.label, index=p.index, score=p.score) for p in result.predictions]
    if result.explanation is None:
        return Predictions(predictions=predictions)
    return Predictions(predictions=predictions, explain=_explanation(result.explanation))


def _explanation(explanation: Explanation) -> ExplanationAnswer:
    layers, *grid = explanation.values.shape
    return ExplanationAnswer(
        method="attention" if explanation.task == Task.ATTENTION else "rollout",
        layers=layers,
        grid=grid,
        values=explanation.values.astype(float).round(DIGITS).tolist(),
        overlay_png=base64.b64encode(explanation.overlay).decode(),
    )
