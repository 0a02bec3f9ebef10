"""OpenTelemetry traces: a span per request and per stage of each image. Disabled unless an endpoint is set.

The SDK's OTEL_* environment variables (resource attributes, headers, sampling) apply.
"""

import time
from collections.abc import Mapping
from contextvars import ContextVar
from importlib import import_module
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_NAME = "tessella"
_TRACER: ContextVar[Any] = ContextVar("tracer", default=None)
"""OpenTelemetry tracer of the current request; None if it is not traced."""


class Tracing:
    """Tracer and span exporter of one process.

    Args:
        endpoint: base URL of an OTLP/HTTP collector, such as http://localhost:4318.

    Raises:
        ValueError: the extra `otel` is not installed.
    """

    def __init__(self, endpoint: str) -> None:
        require_tracing()
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        self._provider = TracerProvider(resource=Resource.create({SERVICE_NAME: _NAME}))
        exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces")
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self.tracer = self._provider.get_tracer(_NAME)

    def close(self) -> None:
        """Export the remaining spans; blocks for at most some seconds."""
        self._provider.shutdown()


def require_tracing() -> None:
    """Raise ValueError if the extra `otel` is not installed."""
    for package in ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"):
        try:
            import_module(package)
        except ModuleNotFoundError as error:
            raise ValueError(
                f"tracing needs the package {error.name}, which is not installed: pip install 'tessella[otel]'"
            ) from error


class TracingMiddleware:
    """ASGI middleware: a span around each request, child of the one in its `traceparent` header."""

    def __init__(self, app: ASGIApp, tracing: Tracing) -> None:
        self.app = app
        self._tracer = tracing.tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        from opentelemetry.propagate import extract
        from opentelemetry.trace import SpanKind

        method: str = scope["method"]
        parent = extract(Headers(scope=scope))
        _TRACER.set(self._tracer)
        with self._tracer.start_as_current_span(method, context=parent, kind=SpanKind.SERVER) as span:

            async def send_with_attributes(message: Message) -> None:
                if message["type"] == "http.response.start":
                    route = getattr(scope.get("route"), "path", None)
                    span.update_name(f"{method} {route}" if route else method)
                    span.set_attributes(
                        {
                            "http.request.method": method,
                            "http.route": route or "",
                            "http.response.status_code": message["status"],
                            "tessella.request_id": scope["state"]["context"].id,
                        }
                    )
                await send(message)

            await self.app(scope, receive, send_with_attributes)


def record_stages(seconds: Mapping[str, float], **attributes: str | int) -> None:
    """Record spans of consecutive stages of one image that has just finished, as children of the request's span.

    Does nothing if the request is not traced. Durations are exact; gaps between stages are not recorded.

    Args:
        seconds: duration of each stage by name, in order.
    """
    tracer = _TRACER.get()
    if tracer is None:
        return
    start = time.time_ns() - round(sum(seconds.values()) * 1e9)
    for name, duration in seconds.items():
        end = start + round(duration * 1e9)
        tracer.start_span(name, start_time=start, attributes=attributes).end(end)
        start = end
