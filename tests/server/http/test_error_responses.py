"""Error responses: one status for each service error, Retry-After, and the shapes of the JSON body."""

import json

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tessella.server import errors
from tessella.server.http.error_responses import (
    ERROR_EXAMPLES,
    MAX_RETRY_AFTER_SECONDS,
    STATUS_CODES,
    error_body,
    error_response,
    install_error_handlers,
    retry_after_seconds,
)
from tessella.server.http.schemas import ErrorResponse, OpenAIErrorResponse


def test_every_service_error_has_a_status_that_is_documented() -> None:
    assert set(STATUS_CODES) == set(errors.ServiceError.__subclasses__())
    assert set(STATUS_CODES.values()) <= set(ERROR_EXAMPLES)


@pytest.mark.parametrize(
    ("status", "estimate", "seconds"),
    [(429, None, 1), (503, None, 2), (429, 3.2, 4), (429, 0.0, 1), (503, 1e6, MAX_RETRY_AFTER_SECONDS), (400, 5, None)],
)
def test_retry_after(status: int, estimate: float | None, seconds: int | None) -> None:
    assert retry_after_seconds(status, estimate) == seconds
    assert error_response(status, "", "", retry_after=estimate).headers.get("retry-after") == (
        None if seconds is None else str(seconds)
    )


def test_bodies_have_the_documented_shapes() -> None:
    assert ErrorResponse.model_validate(error_body("why", "kind")).error_type == "kind"
    assert OpenAIErrorResponse.model_validate(error_body("why", "kind", "/v1/embeddings")).error.message == "why"


def test_handlers_give_all_errors_of_an_application_the_same_shape() -> None:
    app = FastAPI()
    install_error_handlers(app)

    @app.get("/full")
    async def full() -> None:
        raise errors.Overloaded("the queue is full", 7)

    @app.get("/typed")
    async def typed(count: int) -> None: ...

    @app.post("/typed")
    async def typed_post() -> None: ...

    client = TestClient(app)
    overloaded = client.get("/full")
    assert (overloaded.status_code, overloaded.headers["retry-after"]) == (429, "7")
    assert overloaded.json() == {"error": "the queue is full", "error_type": "overloaded"}
    invalid = client.get("/typed?count=x")
    assert invalid.status_code == 400
    assert invalid.json()["error"].startswith("invalid parameters: count: ")
    assert client.get("/nowhere").json() == {"error": "GET /nowhere: Not Found", "error_type": "not_found"}
    wrong = client.delete("/typed")
    assert (wrong.status_code, wrong.headers["allow"], wrong.json()["error_type"]) == (
        405,
        "GET, POST",
        "method_not_allowed",
    )


def test_messages_may_be_of_any_script() -> None:
    body = bytes(error_response(404, "model 'кот' is not served", "model_not_found").body)
    assert json.loads(body)["error"] == "model 'кот' is not served"
