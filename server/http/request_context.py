"""Request id and timings, sent in the headers of every response."""

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..engine.results import ImageResult
from ..observability.logs import log_access
from .error_responses import error_response

RESPONSE_HEADERS = ("x-request-id", "x-queue-time", "x-inference-time", "x-total-time", "x-batch-size")
_log = logging.getLogger(__name__)
_SAFE_ID = re.compile(r"[\x21-\x7e]{1,128}")


@dataclass(slots=True)
class RequestContext:
    """Id, timings and size of one request. Times are in seconds; handlers fill them in."""

    id: str
    started: float = field(default_factory=time.perf_counter)
    queue_seconds: float = 0.0
    inference_seconds: float = 0.0
    batch_size: int = 0
    body_bytes: int = 0
    """Bytes that the request has reserved from the service's body budget."""

    def record_timings(self, results: Sequence[ImageResult]) -> None:
        """Record queue time, inference time and batch size: of several images, the maximum of each."""
        self.queue_seconds = max((result.queue_seconds for result in results), default=0.0)
        self.inference_seconds = max((result.inference_seconds for result in results), default=0.0)
        self.batch_size = max((result.batch_size for result in results), default=0)

    @property
    def total_seconds(self) -> float:
        return time.perf_counter() - self.started


class RequestContextMiddleware:
    """ASGI middleware that sets `request.state.context` and sends its values in the response's headers.

    An unexpected exception of a handler is logged with the request id and answered with status 500 in the JSON shape of
    all errors. A request that is cancelled as the service ends is answered with status 503.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        sent_id = Headers(scope=scope).get("x-request-id", "")
        context = RequestContext(sent_id if _SAFE_ID.fullmatch(sent_id) else uuid.uuid4().hex)
        scope.setdefault("state", {})["context"] = context
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                _count_response(scope, message["status"])
                if scope["app"].state.service.settings.access_log:
                    _log_access(scope, message["status"], context)
                headers = MutableHeaders(scope=message)
                _add_headers(headers, context)
                if scope["app"].state.service.draining and not scope["state"].get("pipeline"):
                    headers["connection"] = "close"
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        except ClientDisconnect:
            _log.info("request %s: client disconnected", context.id)
        except asyncio.CancelledError:
            if started or not scope["app"].state.service.draining:
                raise
            response = error_response(503, "the service is shutting down", "not_ready", scope["path"])
            await response(scope, receive, send_with_headers)
        except Exception:
            _log.exception("request %s failed", context.id)
            if started:
                raise
            error = {"error": f"internal error; see the server log for request {context.id}", "error_type": "internal"}
            await JSONResponse(error, status_code=500)(scope, receive, send_with_headers)
        finally:
            scope["app"].state.service.body_budget.release(context.body_bytes)


def _log_access(scope: Scope, status: int, context: RequestContext) -> None:
    log_access(
        request_id=context.id,
        method=scope["method"],
        path=scope["path"],
        status=status,
        total_ms=round(context.total_seconds * 1e3, 3),
        queue_ms=round(context.queue_seconds * 1e3, 3),
        inference_ms=round(context.inference_seconds * 1e3, 3),
        batch_size=context.batch_size,
    )


def _count_response(scope: Scope, status: int) -> None:
    """Count a response by its route rather than its path, which would let clients create any number of time series."""
    route = getattr(scope.get("route"), "path", "none")
    scope["app"].state.service.metrics.count("tessella_responses_total", route=route, status=str(status))


def _add_headers(headers: MutableHeaders, context: RequestContext) -> None:
    headers["x-request-id"] = context.id
    headers["x-queue-time"] = f"{context.queue_seconds * 1e3:.3f}"
    headers["x-inference-time"] = f"{context.inference_seconds * 1e3:.3f}"
    headers["x-total-time"] = f"{context.total_seconds * 1e3:.3f}"
    headers["x-batch-size"] = str(context.batch_size)
