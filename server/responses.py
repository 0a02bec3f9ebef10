"""Errors as HTTP: which status each kind has, its one JSON shape, and how /docs describes it."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from . import errors
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
RETRY_AFTER_SECONDS = {429: "1", 503: "2"}
_HTTP_TYPES = {404: "not_found", 405: "method_not_allowed"}


class _Descriptions(dict[int, dict[str, Any]]):
    def only(self, *statuses: int) -> dict[int | str, dict[str, Any]]:
        return {status: self[status] for status in statuses}


_MEANINGS = {
    400: "Malformed request",
    401: "No API key, or a wrong one",
    403: "Needs a key, or comes from this machine where no key is set",
    404: "No such model",
    409: "Another one is running",
    413: "Too many bytes, pixels or images",
    415: "Content type that is not read",
    422: "The image cannot be decoded",
    429: "The queue is full; see Retry-After",
    501: "A part of the protocol that is not served",
    503: "Loading, failed or shutting down; see Retry-After",
    504: "No answer within the request's time",
}
ERRORS = _Descriptions({status: {"model": Failure, "description": text} for status, text in _MEANINGS.items()})
OPENAI_ERRORS = _Descriptions(
    {status: {"model": OpenAIFailure, "description": text} for status, text in _MEANINGS.items()}
)
OPENAI_PATHS = ("/v1/embeddings",)
"""Where errors have the shape whose message OpenAI's clients show."""


def failure(status: int, message: str, error_type: str, path: str = "") -> JSONResponse:
    """An error's response. `path`: of the request, which has a say in the shape."""
    document: dict[str, Any] = {"error": message, "error_type": error_type}
    if path in OPENAI_PATHS:
        document = {"error": {"message": message, "type": error_type, "param": None, "code": error_type}}
    headers = {"retry-after": RETRY_AFTER_SECONDS[status]} if status in RETRY_AFTER_SECONDS else None
    return JSONResponse(document, status, headers)


def install_error_handlers(app: FastAPI) -> None:
    """Every error that leaves `app`, routing included, has the shape of `Failure`."""

    async def service_error(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, errors.ServiceError)
        return failure(STATUS[type(error)], str(error), error.error_type, request.url.path)

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
        return response

    app.add_exception_handler(errors.ServiceError, service_error)
    app.add_exception_handler(RequestValidationError, invalid_parameters)
    app.add_exception_handler(HTTPException, http_error)
