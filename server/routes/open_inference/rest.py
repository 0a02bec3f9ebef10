"""The Open Inference Protocol V2 over REST: every path under /v2. Its errors are the service's own: {"error": …}.

Source: github.com/kserve/open-inference-protocol (inference_rest.md) and Triton's extensions, those in `EXTENSIONS`.
"""

import asyncio
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.responses import JSONResponse
from pydantic_core import from_json

from ...engine.engine import AsyncEngine
from ...errors import BadRequest, ModelNotFound, Unsupported
from ...http.auth import require_admin
from ...http.body import decompress, read_body, read_raw_body, reserve_bytes
from ...http.error_responses import ERROR_RESPONSES
from ...http.run_images import cancel_on_disconnect
from ...http.service import Service, service_of
from . import operations as shared
from .infer import INLINE_BYTES, INLINE_ELEMENTS, infer, offload
from .metadata import (
    IndexEntry,
    Live,
    ModelConfig,
    ModelMetadata,
    ModelReady,
    Ready,
    ServerMetadata,
    Statistics,
    configuration,
)
from .openapi import INFER_BODY, INFER_RESPONSES, REPOSITORY_BODY
from .requests import InferRequest
from .rest_codec import HEADER_LENGTH, read_request, write_response

router = APIRouter(prefix="/v2", tags=["Open Inference Protocol"])
_models = APIRouter()


@router.get("/health/live", summary="Is the server alive?")
async def live() -> Live:
    return Live(live=True)


@router.get(
    "/health/ready", summary="Does it answer requests?", response_model=Ready, responses={503: {"model": Ready}}
)
async def ready(request: Request) -> JSONResponse:
    is_ready = shared.is_ready(service_of(request))
    return JSONResponse({"ready": is_ready}, 200 if is_ready else 503)


@router.get("", summary="The server and the extensions that it has")
async def server_metadata() -> ServerMetadata:
    return shared.server_metadata()


@router.get("/models/stats", summary="Statistics of every model")
async def all_statistics(request: Request) -> Statistics:
    return await shared.count(service_of(request))


@_models.get("", summary="A model's inputs and outputs", responses=ERROR_RESPONSES.only(404, 503))
async def model_metadata(request: Request) -> ModelMetadata:
    return shared.metadata(service_of(request), **request.path_params)


@_models.get(
    "/ready",
    summary="Does the model answer requests?",
    response_model=ModelReady,
    responses={503: {"model": ModelReady}, **ERROR_RESPONSES.only(404)},
)
async def model_ready(request: Request) -> JSONResponse:
    model = shared.model_of(service_of(request), **request.path_params)
    if model.unloaded:
        raise ModelNotFound(f"model {model.name!r} is not loaded")
    is_ready = model.state == "ready"
    return JSONResponse({"name": model.name, "ready": is_ready}, 200 if is_ready else 503)


@_models.get("/config", summary="A model's configuration", responses=ERROR_RESPONSES.only(404, 503))
async def model_config(request: Request) -> ModelConfig:
    return configuration(_engine(request), service_of(request).settings)


@_models.get("/stats", summary="Statistics of a model", responses=ERROR_RESPONSES.only(404))
async def model_statistics(request: Request) -> Statistics:
    return await shared.count(service_of(request), **request.path_params)


@_models.post(
    "/infer",
    summary="Run the model",
    response_class=Response,
    responses={**INFER_RESPONSES, **ERROR_RESPONSES.only(400, 404, 413, 415, 429, 501, 503, 504)},
    openapi_extra=INFER_BODY,
)
async def model_infer(request: Request) -> Response:
    """Exactly one of the inputs `image` (BYTES: encoded files of any size), `pixels` (UINT8, what the network sees) and
    `pixel_values` (FP32 or FP16, normalised); outputs `logits` and `probabilities`."""
    service, find = service_of(request), partial(_engine, request)
    find().admission.reject_if_full()  # and an unknown model, before megabytes are read
    asked = await _read(request, service)
    async with cancel_on_disconnect(request):
        answer = await infer(asked, find, service.settings)
    request.state.context.record_timings(answer.images)
    write = partial(write_response, answer, asked.id)
    body, header_length = await offload(write, when=answer.elements > INLINE_ELEMENTS)
    if header_length is None:
        return Response(body, media_type="application/json")
    return Response(body, headers={HEADER_LENGTH: str(header_length)}, media_type="application/octet-stream")


@router.post(
    "/repository/index",
    summary="The models that are known",
    responses=ERROR_RESPONSES.only(400),
    openapi_extra=REPOSITORY_BODY,
)
async def repository_index(request: Request) -> list[IndexEntry]:
    only_ready = (await _options(request)).get("ready", False)
    if not isinstance(only_ready, bool):
        raise BadRequest("'ready' must be true or false")
    return shared.index(service_of(request), only_ready=only_ready)


@router.post(
    "/repository/models/{name}/load",
    summary="Load a model",
    dependencies=[Depends(require_admin)],
    responses=ERROR_RESPONSES.only(400, 403, 404, 501, 503),
    openapi_extra=REPOSITORY_BODY,
)
async def repository_load(request: Request, name: str) -> None:
    await shared.load(service_of(request), name, await _parameters(request))


@router.post(
    "/repository/models/{name}/unload",
    summary="Unload a model",
    dependencies=[Depends(require_admin)],
    responses=ERROR_RESPONSES.only(400, 403, 404, 501, 503),
    openapi_extra=REPOSITORY_BODY,
)
async def repository_unload(request: Request, name: str) -> None:
    await _parameters(request)  # `unload_dependents` has no meaning here: no model depends on another
    await shared.unload(service_of(request), name)


async def _unserved(request: Request) -> None:
    raise Unsupported(
        f"{request.url.path}: this extension is not served; {', '.join(shared.EXTENSIONS)} are, see GET /v2"
    )


def _named(name: Annotated[str, Path(description="a served model")]) -> None:
    """Declares the path's parameter; the handlers read it from the request."""


def _versioned(name: Annotated[str, Path(description="a served model")], version: str) -> None:
    """As `_named`."""


router.include_router(_models, prefix="/models/{name}", dependencies=[Depends(_named)])
router.include_router(_models, prefix="/models/{name}/versions/{version}", dependencies=[Depends(_versioned)])
for path in (
    "/systemsharedmemory/{rest:path}",
    "/cudasharedmemory/{rest:path}",
    "/logging",
    "/trace/setting",
    "/models/{name}/trace/setting",
    "/models/{name}/generate",
    "/models/{name}/generate_stream",
):
    router.add_api_route(path, _unserved, methods=["GET", "POST"], include_in_schema=False)


def _engine(request: Request) -> AsyncEngine:
    return shared.engine_of(service_of(request), **request.path_params)


async def _read(request: Request, service: Service) -> InferRequest:
    """The body, decompressed and parsed; off the event loop where that takes time."""
    body = await read_raw_body(request)
    if encoding := request.headers.get("content-encoding"):
        body = await asyncio.to_thread(decompress, body, encoding, service.settings.max_body_bytes)
        reserve_bytes(request, len(body))
    read = partial(read_request, body, request.headers.get(HEADER_LENGTH))
    return await offload(read, when=len(body) > INLINE_BYTES)


async def _options(request: Request) -> dict[str, Any]:
    """The JSON object that is the body of a repository request; none is an empty one."""
    body = await read_body(request)
    try:
        options = from_json(body or b"{}")
    except ValueError as error:
        raise BadRequest(f"the body is not valid JSON: {error}") from error
    if not isinstance(options, dict):
        raise BadRequest("the body must be a JSON object, or empty")
    return options


async def _parameters(request: Request) -> dict[str, Any]:
    parameters = (await _options(request)).get("parameters", {})
    if not isinstance(parameters, dict):
        raise BadRequest("'parameters' must be a JSON object")
    return parameters
