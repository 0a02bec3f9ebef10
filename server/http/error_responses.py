"""Error responses: HTTP status of each service error, its JSON body, and its description in /docs."""

import math
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match, Mount

from .. import errors
from .schemas import ErrorResponse, OpenAIErrorResponse

STATUS_CODES: dict[type[errors.ServiceError], int] = {
    errors.BadRequest: 400,
    errors.Forbidden: 403,
    errors.ModelNotFound: 404,
    errors.BenchmarkNotFound: 404,
    errors.BenchmarkRunning: 409,
    errors.TaskNotSupported: 400,
    errors.RequestTooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.ImageError: 422,
    errors.LoadFailed: 422,
    errors.Overloaded: 429,
    errors.Unsupported: 501,
    errors.NotReady: 503,
    errors.InferenceFailed: 503,
    errors.DeadlineExceeded: 504,
}
DEFAULT_RETRY_AFTER_SECONDS = {429: 1, 503: 2}
MAX_RETRY_AFTER_SECONDS = 60
OPENAI_PATHS = ("/v1/embeddings", "/v1/models")
"""Paths whose errors have the shape that OpenAI's clients read."""

_HTTP_TYPES = {404: "not_found", 405: "method_not_allowed"}
_DESCRIPTIONS: dict[int, tuple[str, str, str]] = {
    400: ("Malformed request", "bad_request", "invalid parameters: top_k: Input should be greater than or equal to 1"),
    401: (
        "Missing or invalid API key",
        "unauthorized",
        "missing or invalid API key; send it as 'Authorization: Bearer …' or 'x-api-key'",
    ),
    403: (
        "No API key configured, and the request is not local",
        "forbidden",
        "this route accepts only local requests unless an API key is configured; set --api-key",
    ),
    404: ("Unknown model", "model_not_found", "model 'cats' is not served; available: digits-vit, digits-tnt"),
    409: ("A benchmark is running", "benchmark_running", "benchmark 5c1b8a0e42d7 is running; one runs at a time"),
    413: ("Too many bytes, pixels or images", "too_large", "the request body exceeds 67,108,864 bytes"),
    415: ("Unsupported content type", "unsupported_media_type", "content type 'text/html' is not supported"),
    422: ("Image cannot be decoded", "invalid_image", "the JPEG image is damaged: image file is truncated"),
    429: ("Overloaded; see Retry-After", "overloaded", "the queue holds 1024 of at most 1024 images; retry later"),
    501: ("Unsupported part of the protocol", "unsupported", "sequence requests are not supported; omit 'sequence_id'"),
    503: ("Loading, failed or shutting down; see Retry-After", "not_ready", "model 'digits-vit' is loading"),
    504: ("Request timed out", "deadline_exceeded", "the request timed out after 0.5 s"),
}
"""Description of each status, with the type and message of an example."""


class _Responses(dict[int, dict[str, Any]]):
    def only(self, *statuses: int) -> dict[int | str, dict[str, Any]]:
        return {status: self[status] for status in statuses}


ERROR_EXAMPLES = {status: example for status, (_, *example) in _DESCRIPTIONS.items()}
ERROR_RESPONSES = _Responses(
    {status: {"model": ErrorResponse, "description": row[0]} for status, row in _DESCRIPTIONS.items()}
)
OPENAI_ERROR_RESPONSES = _Responses(
    {status: {"model": OpenAIErrorResponse, "description": row[0]} for status, row in _DESCRIPTIONS.items()}
)


def error_response(
    status: int, message: str, error_type: str, path: str = "", retry_after: float | None = None
) -> JSONResponse:
    """JSON response of an error. `path`: of the request, which selects the shape. `retry_after`: in seconds."""
    wait = retry_after_seconds(status, retry_after)
    headers = {} if wait is None else {"retry-after": str(wait)}
    return JSONResponse(error_body(message, error_type, path), status, headers)


def retry_after_seconds(status: int, estimate: float | None = None) -> int | None:
    """Value of Retry-After, from 1 to `MAX_RETRY_AFTER_SECONDS`; None for a status where retrying does not help."""
    if status not in DEFAULT_RETRY_AFTER_SECONDS:
        return None
    seconds = DEFAULT_RETRY_AFTER_SECONDS[status] if estimate is None else math.ceil(estimate)
    return min(max(1, seconds), MAX_RETRY_AFTER_SECONDS)


def error_body(message: str, error_type: str, path: str = "") -> dict[str, Any]:
    """JSON body of an error, in OpenAI's shape for `OPENAI_PATHS`."""
    if path in OPENAI_PATHS:
        return {"error": {"message": message, "type": error_type, "param": None, "code": error_type}}
    return {"error": message, "error_type": error_type}


def install_error_handlers(app: FastAPI) -> None:
    """Install handlers that give every error of `app`, including those of routing, the shape of `ErrorResponse`."""

    async def service_error(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, errors.ServiceError)
        status = STATUS_CODES[type(error)]
        return error_response(status, str(error), error.error_type, request.url.path, error.retry_after)

    async def invalid_parameters(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        details = "; ".join(f"{part['loc'][-1]}: {part['msg']}" for part in error.errors()[:3])
        return error_response(400, f"invalid parameters: {details}", errors.BadRequest.error_type, request.url.path)

    async def http_error(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        message = f"{request.method} {request.url.path}: {error.detail}"
        error_type = _HTTP_TYPES.get(error.status_code, "http_error")
        response = error_response(error.status_code, message, error_type, request.url.path)
        response.headers.update(error.headers or {})
        if error.status_code == 405 and (methods := _allowed_methods(request)):
            response.headers["allow"] = ", ".join(sorted(methods))
        return response

    app.add_exception_handler(errors.ServiceError, service_error)
    app.add_exception_handler(RequestValidationError, invalid_parameters)
    app.add_exception_handler(HTTPException, http_error)


def _allowed_methods(request: Request) -> set[str]:
    """Methods of all routes that match the request's path; Starlette's own `Allow` covers only the first route."""
    routes = [route for route in request.app.routes if not isinstance(route, Mount)]
    return {
        method
        for method in ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
        if any(route.matches({**request.scope, "method": method})[0] == Match.FULL for route in routes)
    }
