"""OpenTelemetry traces: a span for each request and one for each stage of each image. Off until a collector is named.

The SDK's own OTEL_* variables (resource attributes, headers, sampling) are honoured.
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
"""The OpenTelemetry tracer of the request that is being handled."""


class Tracing:
    """Where one process's spans go.

    Args:
        endpoint: of an OTLP/HTTP collector, such as http://localhost:4318.

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
        """Sends what is left. Blocks for it, some seconds at the most."""
        self._provider.shutdown()


def require_tracing() -> None:
    """Raises ValueError where the extra `otel` is not installed."""
    for package in ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"):
        try:
            import_module(package)
        except ModuleNotFoundError as error:
            raise ValueError(f"{error.name} is missing, which traces need: pip install 'tessella[otel]'") from error


class TracingMiddleware:
    """A span around each request, the child of the one that its `traceparent` header names."""

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

            async def send_and_describe(message: Message) -> None:
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

            await self.app(scope, receive, send_and_describe)


def record_stages(seconds: Mapping[str, float], **attributes: str | int) -> None:
    """Spans for stages of one image that followed each other and have just ended, under the request's span.

    Costs nothing where the request is not traced. Lengths are exact; what passed between two stages is not shown.

    Args:
        seconds: how long each stage took, by its name, first to last.
    """
    tracer = _TRACER.get()
    if tracer is None:
        return
    start = time.time_ns() - round(sum(seconds.values()) * 1e9)
    for name, length in seconds.items():
        end = start + round(length * 1e9)
        tracer.start_span(name, start_time=start, attributes=attributes).end(end)
        start = end
