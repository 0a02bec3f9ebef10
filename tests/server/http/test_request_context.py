"""Request context: ids, timing headers, and responses to exceptions that no handler expects."""

from types import SimpleNamespace

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from tessella.server.engine.results import Classification
from tessella.server.http.body import BodyBudget
from tessella.server.http.request_context import RequestContext, RequestContextMiddleware
from tessella.server.observability.metrics import Metrics


@pytest.fixture
def app() -> FastAPI:
    app = FastAPI()
    app.add_middleware(RequestContextMiddleware)
    settings = SimpleNamespace(access_log=False)
    app.state.service = SimpleNamespace(
        settings=settings, metrics=Metrics(), body_budget=BodyBudget(100), draining=False
    )

    @app.get("/ok")
    async def ok(request: Request) -> str:
        request.app.state.service.body_budget.reserve(60)
        request.state.context.body_bytes = 60
        request.state.context.record_timings([result(0.001, 2), result(0.002, 1)])
        return "ok"

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("a secret detail")

    return app


def result(seconds: float, batch_size: int) -> Classification:
    return Classification(
        predictions=(), batch_size=batch_size, decode_seconds=0, queue_seconds=seconds, inference_seconds=2 * seconds
    )


def test_headers_have_the_maximum_over_a_requests_images(app: FastAPI) -> None:
    headers = TestClient(app).get("/ok").headers
    assert (headers["x-queue-time"], headers["x-inference-time"], headers["x-batch-size"]) == ("2.000", "4.000", "2")
    assert float(headers["x-total-time"]) > 0


@pytest.mark.parametrize(("sent", "kept"), [("a-7", True), ("x" * 128, True), ("x" * 129, False), ("a b", False)])
def test_a_safe_request_id_is_kept(app: FastAPI, sent: str, kept: bool) -> None:
    returned = TestClient(app).get("/ok", headers={"x-request-id": sent}).headers["x-request-id"]
    assert returned == sent if kept else len(returned) == 32


def test_reserved_bytes_are_released_after_the_response(app: FastAPI) -> None:
    client = TestClient(app)
    assert [client.get("/ok").status_code for _ in range(3)] == [200] * 3
    assert app.state.service.body_budget.reserved == 0


def test_an_unexpected_exception_is_a_500_without_its_text(app: FastAPI, caplog: pytest.LogCaptureFixture) -> None:
    response = TestClient(app).get("/broken", headers={"x-request-id": "a-7"})
    assert response.status_code == 500
    message = "internal error; see the server log for request a-7"
    assert response.json() == {"error": message, "error_type": "internal"}
    assert "request a-7 failed" in caplog.text
    assert "a secret detail" in caplog.text


def test_connections_are_closed_while_the_service_drains(app: FastAPI) -> None:
    assert "connection" not in TestClient(app).get("/ok").headers
    app.state.service.draining = True
    assert TestClient(app).get("/ok").headers["connection"] == "close"


def test_an_empty_request_has_no_timings() -> None:
    context = RequestContext("a")
    context.record_timings([])
    assert (context.queue_seconds, context.inference_seconds, context.batch_size) == (0, 0, 0)
