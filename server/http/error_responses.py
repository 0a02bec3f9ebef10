"""Errors as HTTP: which status each kind has, its one JSON shape, and how /docs describes it."""

import math
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match, Mount

from .. import errors
from .schemas import Failure, OpenAIFailure

STATUS: dict[type[errors.ServiceError], int] = {
    errors.BadRequest: 400,
    errors.Forbidden: 403,
    errors.ModelNotServed: 404,
    errors.BenchmarkNotFound: 404,
    errors.BenchmarkRunning: 409,
    errors.TaskNotGiven: 400,
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
RETRY_AFTER_SECONDS = {429: 1, 503: 2}
"""Where nothing is known that tells better."""
MOST_RETRY_AFTER_SECONDS = 60
_HTTP_TYPES = {404: "not_found", 405: "method_not_allowed"}


class _Descriptions(dict[int, dict[str, Any]]):
    def only(self, *statuses: int) -> dict[int | str, dict[str, Any]]:
        return {status: self[status] for status in statuses}


_MEANINGS: dict[int, tuple[str, str, str]] = {
    400: ("Malformed request", "bad_request", "invalid parameters: top_k: Input should be greater than or equal to 1"),
    401: ("No API key, or a wrong one", "unauthorized", "no valid API key; send it as 'Authorization: Bearer …'"),
    403: (
        "Needs a key, or comes from this machine where no key is set",
        "forbidden",
        "without an API key this is only for requests from this machine; start with --api-key",
    ),
    404: ("No such model", "model_not_found", "no model 'cats' is served; there is: digits-vit, digits-tnt"),
    409: ("Another one is running", "benchmark_running", "benchmark 5c1b8a0e42d7 is running; one runs at a time"),
    413: ("Too many bytes, pixels or images", "too_large", "the body is larger than 67,108,864 bytes"),
    415: ("Content type that is not read", "unsupported_media_type", "content type 'text/html' is not read"),
    422: ("The image cannot be decoded", "invalid_image", "the JPEG image is damaged: image file is truncated"),
    429: ("Too much at once; see Retry-After", "overloaded", "1024 images are in the queue, at most 1024 are accepted"),
    501: ("A part of the protocol that is not served", "unsupported", "shared memory is not served"),
    503: ("Loading, failed or shutting down; see Retry-After", "not_ready", "model 'digits-vit' is loading"),
    504: ("No answer within the request's time", "deadline_exceeded", "no answer within 0.5 s"),
}
"""Status -> what it means, and the type and text of an example."""
ERROR_EXAMPLES = {status: example for status, (_, *example) in _MEANINGS.items()}
ERRORS = _Descriptions({status: {"model": Failure, "description": row[0]} for status, row in _MEANINGS.items()})
OPENAI_ERRORS = _Descriptions(
    {status: {"model": OpenAIFailure, "description": row[0]} for status, row in _MEANINGS.items()}
)
OPENAI_PATHS = ("/v1/embeddings",)
"""Where errors have the shape whose message OpenAI's clients show."""


def failure(
    status: int, message: str, error_type: str, path: str = "", retry_after: float | None = None
) -> JSONResponse:
    """An error's response. `path`: of the request, which has a say in the shape. `retry_after`: in seconds."""
    wait = seconds_before_retry(status, retry_after)
    headers = {} if wait is None else {"retry-after": str(wait)}
    return JSONResponse(failure_document(message, error_type, path), status, headers)


def seconds_before_retry(status: int, estimate: float | None = None) -> int | None:
    """How long a client is asked to wait before it tries again; None where that would not help."""
    if status not in RETRY_AFTER_SECONDS:
        return None
    seconds = RETRY_AFTER_SECONDS[status] if estimate is None else math.ceil(estimate)
    return min(max(1, seconds), MOST_RETRY_AFTER_SECONDS)


def failure_document(message: str, error_type: str, path: str = "") -> dict[str, Any]:
    if path in OPENAI_PATHS:
        return {"error": {"message": message, "type": error_type, "param": None, "code": error_type}}
    return {"error": message, "error_type": error_type}


def install_error_handlers(app: FastAPI) -> None:
    """Every error that leaves `app`, routing included, has the shape of `Failure`."""

    async def service_error(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, errors.ServiceError)
        return failure(STATUS[type(error)], str(error), error.error_type, request.url.path, error.retry_after)

    async def invalid_parameters(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        findings = "; ".join(f"{part['loc'][-1]}: {part['msg']}" for part in error.errors()[:3])
        return failure(400, f"invalid parameters: {findings}", errors.BadRequest.error_type, request.url.path)

    async def http_error(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        message = f"{request.method} {request.url.path}: {error.detail}"
        error_type = _HTTP_TYPES.get(error.status_code, "http_error")
        response = failure(error.status_code, message, error_type, request.url.path)
        response.headers.update(error.headers or {})
        if error.status_code == 405 and (methods := _methods(request)):
            response.headers["allow"] = ", ".join(sorted(methods))
        return response

    app.add_exception_handler(errors.ServiceError, service_error)
    app.add_exception_handler(RequestValidationError, invalid_parameters)
    app.add_exception_handler(HTTPException, http_error)


def _methods(request: Request) -> set[str]:
    """Those that some route has for the request's path; the router itself names those of the first one."""
    routes = [route for route in request.app.routes if not isinstance(route, Mount)]
    return {
        method
        for method in ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
        if any(route.matches({**request.scope, "method": method})[0] == Match.FULL for route in routes)
    }
