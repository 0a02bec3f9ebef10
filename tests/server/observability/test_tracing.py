"""Traces of a served process, as an OTLP/HTTP collector receives them."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tessella.server.observability.tracing import record_stages, require_tracing

from ...support import pictures
from ...support.live import served

PNG = pictures.encode(pictures.gradient())
TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@contextmanager
def collector() -> Iterator[tuple[str, list[Span]]]:
    """URL of an OTLP/HTTP collector, and the spans it has received."""
    spans: list[Span] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            assert self.path == "/v1/traces"
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                spans.extend(span for scope in resource.scope_spans for span in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", spans
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("front_ends", ["0", "1"])
def test_request_span_has_a_child_for_each_stage(front_ends: str) -> None:
    with collector() as (endpoint, spans):
        options = ("--otlp-endpoint", endpoint, "--frontends", front_ends, "--model", "digits-vit")
        with served(*options, OTEL_BSP_SCHEDULE_DELAY="60000") as url:
            headers = {"traceparent": f"00-{TRACE}-{CALLER}-01", "x-request-id": "mine"}
            assert httpx.post(f"{url}/classify", content=PNG, headers=headers).status_code == 200
            assert httpx.post(f"{url}/classify", content=b"no image").status_code == 422
        traced = [span for span in spans if span.trace_id.hex() == TRACE]
        (request,) = (span for span in traced if span.name == "POST /classify")
        assert request.parent_span_id.hex() == CALLER
        attributes = {item.key: item.value for item in request.attributes}
        assert attributes["http.response.status_code"].int_value == 200
        assert attributes["tessella.request_id"].string_value == "mine"
        stages = [span for span in traced if span.parent_span_id == request.span_id]
        assert [span.name for span in stages] == ["decode", "input", "queue", "inference", "output"]
        ends = [0, *(span.end_time_unix_nano for span in stages)]
        assert all(start <= span.start_time_unix_nano for start, span in zip(ends, stages, strict=False))
        assert request.start_time_unix_nano <= stages[0].start_time_unix_nano
        assert stages[-1].end_time_unix_nano <= request.end_time_unix_nano
        assert {item.key for span in stages for item in span.attributes} == {"model", "batch_size"}
        failed = [span for span in spans if span.name == "POST /classify" and span.trace_id.hex() != TRACE]
        assert len(failed) == 1
        assert not [span for span in spans if span.parent_span_id == failed[0].span_id]


def test_untraced_request_needs_no_opentelemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    record_stages({"decode": 1.0}, model="m")


def test_missing_extra_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk", None)
    with pytest.raises(ValueError, match=r"opentelemetry\.sdk, which is not installed: pip install 'tessella\[otel\]'"):
        require_tracing()
