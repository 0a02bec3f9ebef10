"""Schemas of requests reject unknown fields and values out of range; defaults are those documented."""

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from tessella.server.http import schemas
from tessella.server.http.schemas import (
    AliasRequest,
    ClassifyParameters,
    ClassifyRequest,
    LoadRequest,
)


def test_defaults() -> None:
    assert ClassifyRequest(inputs="a").parameters == ClassifyParameters(top_k=5, priority=0)
    assert LoadRequest() == LoadRequest(source=None, version=None)


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (ClassifyParameters, {"topk": 1}),
        (ClassifyParameters, {"top_k": 0}),
        (ClassifyParameters, {"timeout_ms": 0}),
        (ClassifyParameters, {"timeout_ms": float("nan")}),
        (ClassifyParameters, {"priority": 101}),
        (ClassifyParameters, {"explain": "lime"}),
        (ClassifyRequest, {"inputs": [1]}),
        (LoadRequest, {"source": ""}),
        (LoadRequest, {"version": 0}),
        (AliasRequest, {}),
    ],
)
def test_invalid_values_are_rejected(model: type[BaseModel], values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        model(**values)


def test_requests_forbid_unknown_fields() -> None:
    requests = [value for name, value in vars(schemas).items() if name.endswith(("Request", "Parameters"))]
    assert len(requests) >= 4
    assert all(request.model_config["extra"] == "forbid" for request in requests)
