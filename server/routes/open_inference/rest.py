"""REST routes of the Open Inference Protocol, version 2: all paths below /v2. Errors are {"error": …} as elsewhere.

Source: github.com/kserve/open-inference-protocol (inference_rest.md) and Triton's extensions listed in `EXTENSIONS`.
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
from . import operations
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
    describe_config,
)
from .openapi import INFER_BODY, INFER_RESPONSES, REPOSITORY_BODY
from .requests import InferRequest
from .rest_codec import HEADER_LENGTH, read_request, write_response

router = APIRouter(prefix="/v2", tags=["Open Inference Protocol"])
_models = APIRouter()


@router.get("/health/live", summary="Check server liveness")
async def live() -> Live:
    return Live(live=True)


@router.get("/health/ready", summary="Check server readiness", response_model=Ready, responses={503: {"model": Ready}})
async def ready(request: Request) -> JSONResponse:
    is_ready = operations.is_ready(service_of(request))
    return JSONResponse({"ready": is_ready}, 200 if is_ready else 503)


@router.get("", summary="Get server metadata")
async def server_metadata() -> ServerMetadata:
    return operations.server_metadata()


@router.get("/models/stats", summary="Get statistics of all models")
async def all_statistics(request: Request) -> Statistics:
    return await operations.model_statistics(service_of(request))


@_models.get("", summary="Get model metadata", responses=ERROR_RESPONSES.only(404, 503))
async def model_metadata(request: Request) -> ModelMetadata:
    return operations.model_metadata(service_of(request), **request.path_params)


@_models.get(
    "/ready",
    summary="Check model readiness",
    response_model=ModelReady,
    responses={503: {"model": ModelReady}, **ERROR_RESPONSES.only(404)},
)
async def model_ready(request: Request) -> JSONResponse:
    model = operations.find_model(service_of(request), **request.path_params)
    if model.unloaded:
        raise ModelNotFound(f"model {model.name!r} is not loaded")
    is_ready = model.state == "ready"
    return JSONResponse({"name": model.name, "ready": is_ready}, 200 if is_ready else 503)


@_models.get("/config", summary="Get model configuration", responses=ERROR_RESPONSES.only(404, 503))
async def model_config(request: Request) -> ModelConfig:
    return describe_config(_engine(request), service_of(request).settings)


@_models.get("/stats", summary="Get model statistics", responses=ERROR_RESPONSES.only(404))
async def model_statistics(request: Request) -> Statistics:
    return await operations.model_statistics(service_of(request), **request.path_params)


@_models.post(
    "/infer",
    summary="Run inference",
    response_class=Response,
    responses={**INFER_RESPONSES, **ERROR_RESPONSES.only(400, 404, 413, 415, 429, 501, 503, 504)},
    openapi_extra=INFER_BODY,
)
async def model_infer(request: Request) -> Response:
    """Exactly one of the inputs `image` (BYTES: image files of any size), `pixels` (UINT8: resized and cropped) and
    `pixel_values` (FP32 or FP16: the same, normalised); outputs `logits` and `probabilities`."""
    service, get_engine = service_of(request), partial(_engine, request)
    get_engine().admission.reject_if_full()  # reject an unknown or busy model before the body is read
    infer_request = await _read(request, service)
    async with cancel_on_disconnect(request):
        result = await infer(infer_request, get_engine, service.settings)
    request.state.context.record_timings(result.images)
    write = partial(write_response, result, infer_request.id)
    body, header_length = await offload(write, when=result.element_count > INLINE_ELEMENTS)
    if header_length is None:
        return Response(body, media_type="application/json")
    return Response(body, headers={HEADER_LENGTH: str(header_length)}, media_type="application/octet-stream")


@router.post(
    "/repository/index",
    summary="List the models in the repository",
    responses=ERROR_RESPONSES.only(400),
    openapi_extra=REPOSITORY_BODY,
)
async def repository_index(request: Request) -> list[IndexEntry]:
    only_ready = (await _json_object(request)).get("ready", False)
    if not isinstance(only_ready, bool):
        raise BadRequest("'ready' must be true or false")
    return operations.repository_index(service_of(request), only_ready=only_ready)


@router.post(
    "/repository/models/{name}/load",
    summary="Load a model",
    dependencies=[Depends(require_admin)],
    responses=ERROR_RESPONSES.only(400, 403, 404, 501, 503),
    openapi_extra=REPOSITORY_BODY,
)
async def repository_load(request: Request, name: str) -> None:
    await operations.load_model(service_of(request), name, await _parameters(request))


@router.post(
    "/repository/models/{name}/unload",
    summary="Unload a model",
    dependencies=[Depends(require_admin)],
    responses=ERROR_RESPONSES.only(400, 403, 404, 501, 503),
    openapi_extra=REPOSITORY_BODY,
)
async def repository_unload(request: Request, name: str) -> None:
    await _parameters(request)  # `unload_dependents` is ignored: models have no dependents
    await operations.unload_model(service_of(request), name)


async def _unsupported(request: Request) -> None:
    raise Unsupported(
        f"{request.url.path}: this extension is not supported; supported: {', '.join(operations.EXTENSIONS)}"
    )


def _name_parameter(name: Annotated[str, Path(description="name of a served model")]) -> None:
    """Declare the path parameter; handlers read it from the request."""


def _version_parameters(name: Annotated[str, Path(description="name of a served model")], version: str) -> None:
    """Declare both path parameters, as `_name_parameter`."""


router.include_router(_models, prefix="/models/{name}", dependencies=[Depends(_name_parameter)])
router.include_router(_models, prefix="/models/{name}/versions/{version}", dependencies=[Depends(_version_parameters)])
for path in (
    "/systemsharedmemory/{rest:path}",
    "/cudasharedmemory/{rest:path}",
    "/logging",
    "/trace/setting",
    "/models/{name}/trace/setting",
    "/models/{name}/generate",
    "/models/{name}/generate_stream",
):
    router.add_api_route(path, _unsupported, methods=["GET", "POST"], include_in_schema=False)


def _engine(request: Request) -> AsyncEngine:
    return operations.find_engine(service_of(request), **request.path_params)


async def _read(request: Request, service: Service) -> InferRequest:
    """Read, decompress and parse the body, in a thread if it is compressed or large."""
    body = await read_raw_body(request)
    if encoding := request.headers.get("content-encoding"):
        body = await asyncio.to_thread(decompress, body, encoding, service.settings.max_body_bytes)
        reserve_bytes(request, len(body))
    parse = partial(read_request, body, request.headers.get(HEADER_LENGTH))
    return await offload(parse, when=len(body) > INLINE_BYTES)


async def _json_object(request: Request) -> dict[str, Any]:
    """JSON object in the body of a repository request; an empty body is an empty object."""
    body = await read_body(request)
    try:
        value = from_json(body or b"{}")
    except ValueError as error:
        raise BadRequest(f"invalid JSON body: {error}") from error
    if not isinstance(value, dict):
        raise BadRequest("the body must be a JSON object or empty")
    return value


async def _parameters(request: Request) -> dict[str, Any]:
    parameters = (await _json_object(request)).get("parameters", {})
    if not isinstance(parameters, dict):
        raise BadRequest("'parameters' must be a JSON object")
    return parameters
