"""OpenAPI schema: complete, with valid examples, and in agreement with the responses to generated requests."""

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
"""Status codes of server errors that are documented behaviour."""
schema = schemathesis.openapi.from_dict(DOCUMENT)


@pytest.fixture(scope="module")
def own_service() -> Iterator[str]:
    """URL of a service for this module own_service: generated requests load and unload models, and start benchmarks."""
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
def test_generated_requests_get_documented_responses(case: schemathesis.Case[Any], own_service: str) -> None:
    case.call_and_validate(base_url=own_service, checks=CHECKS, timeout=60)


@pytest.mark.parametrize(("path", "operation"), OPERATIONS)
def test_every_operation_has_a_summary_and_valid_examples(path: str, operation: dict[str, Any]) -> None:
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
def test_request_examples_succeed(own_service: str, method: str, path: str, example: Any) -> None:
    url = own_service + path.replace("{name}", "digits-vit").replace("{version}", "1")
    answer = httpx.request(method, url, json=example, timeout=60)
    assert answer.is_success or (path, answer.status_code) == ("/benchmarks", 409), answer.text


def test_references_resolve_and_validation_errors_are_removed() -> None:
    def references(node: Any) -> set[str]:
        if isinstance(node, list):
            return set().union(*map(references, node))
        if not isinstance(node, dict):
            return set()
        return set().union({str(node["$ref"])} if "$ref" in node else set(), *map(references, node.values()))

    used = references(DOCUMENT)
    assert {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]} >= used
    assert not any("Validation" in reference for reference in used)


def test_protected_operations_document_keys() -> None:
    for path, operations in DOCUMENT["paths"].items():
        for method, operation in operations.items():
            open_to_all = path.startswith(("/health", "/readyz", "/ping", "/metrics", "/v2/health"))
            assert ("401" in operation["responses"]) != open_to_all, (method, path)
            assert ("security" in operation) != open_to_all


def test_allow_lists_the_methods_of_all_routes(own_service: str) -> None:
    for path in ("/", "/benchmarks", "/models/digits-vit"):
        answer = httpx.request("PATCH", own_service + path)
        assert answer.status_code == 405
        assert answer.headers["allow"] in ("GET, POST", "GET, HEAD, POST")
