"""/docs tells the truth: the schema is whole, its examples work, and what it does not foresee does not happen."""

from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import CheckContext
from schemathesis.specs.openapi import checks

from tessella.server.app import create_app
from tessella.server.http.service import Service
from tessella.server.observability.metrics import Metrics
from tessella.server.repository import ModelRepository
from tessella.server.served_model import local_loader
from tessella.server.settings import Settings

from ...support.live import served

SETTINGS = Settings()
DOCUMENT = create_app(
    Service(SETTINGS, ModelRepository(SETTINGS, local_loader(SETTINGS, Metrics())), Metrics())
).openapi()
OPERATIONS = [
    pytest.param(path, operation, id=f"{method.upper()} {path}")
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
]
MAY_FAIL = {501, 503, 504}
"""What a server may answer to a request without being at fault."""
schema = schemathesis.openapi.from_dict(DOCUMENT)


@pytest.fixture(scope="module")
def alone() -> Iterator[str]:
    """A service that nobody else asks: what is sent may load and unload models, and start benchmarks."""
    with served() as url:
        yield url


@schemathesis.check
def no_failure_of_the_server(_: CheckContext, response: schemathesis.Response, case: schemathesis.Case[Any]) -> None:
    assert response.status_code < 500 or response.status_code in MAY_FAIL, response.text


CHECKS = [
    no_failure_of_the_server,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
]


@schema.parametrize()
@settings(
    max_examples=15,
    derandomize=True,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_whatever_is_sent_the_answer_is_one_that_was_foreseen(case: schemathesis.Case[Any], alone: str) -> None:
    case.call_and_validate(base_url=alone, checks=CHECKS, timeout=60)


@pytest.mark.parametrize(("path", "operation"), OPERATIONS)
def test_every_operation_is_described(path: str, operation: dict[str, Any]) -> None:
    assert operation["summary"]
    for status, response in operation["responses"].items():
        assert response["description"], status
        content = response.get("content", {}).get("application/json", {})
        if "ErrorResponse" in content.get("schema", {}).get("$ref", ""):
            jsonschema.validate(content["example"], {**content["schema"], "components": DOCUMENT["components"]})
        if status.startswith("2") and content.get("schema"):
            jsonschema.validate(content["example"], {**content["schema"], "components": DOCUMENT["components"]})
    body = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if body:
        for example in body.get("examples", {}).values():
            jsonschema.validate(example["value"], {**body["schema"], "components": DOCUMENT["components"]})


def request_examples() -> Iterator[Any]:
    for path, operations in DOCUMENT["paths"].items():
        for method, operation in operations.items():
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            only = {"only": {"value": body["example"]}} if "example" in body else {}
            for name, example in body.get("examples", only).items():
                yield pytest.param(method, path, example["value"], id=f"{method.upper()} {path} {name}")


@pytest.mark.parametrize(("method", "path", "example"), list(request_examples()))
def test_an_example_of_a_request_works(alone: str, method: str, path: str, example: Any) -> None:
    url = alone + path.replace("{name}", "digits-vit").replace("{version}", "1")
    answer = httpx.request(method, url, json=example, timeout=60)
    assert answer.is_success or (path, answer.status_code) == ("/benchmarks", 409), answer.text


def test_no_reference_leads_nowhere_and_fastapis_own_errors_are_not_told_of() -> None:
    def references(node: Any) -> set[str]:
        if isinstance(node, list):
            return set().union(*map(references, node))
        if not isinstance(node, dict):
            return set()
        return set().union({str(node["$ref"])} if "$ref" in node else set(), *map(references, node.values()))

    found = references(DOCUMENT)
    assert {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]} >= found
    assert not any("Validation" in reference for reference in found)


def test_a_key_is_told_of_where_it_is_needed() -> None:
    for path, operations in DOCUMENT["paths"].items():
        for method, operation in operations.items():
            open_to_all = path.startswith(("/healthz", "/readyz", "/metrics", "/v2/health"))
            assert ("401" in operation["responses"]) != open_to_all, (method, path)
            assert ("security" in operation) != open_to_all


def test_a_wrong_method_is_told_all_that_there_are(alone: str) -> None:
    for path in ("/", "/benchmarks", "/models/digits-vit"):
        answer = httpx.request("PATCH", alone + path)
        assert answer.status_code == 405
        assert answer.headers["allow"] in ("GET, POST", "GET, HEAD, POST")
