"""Inference requests: shapes, integer parameters, schedules and outputs, with errors that name the field."""

from typing import Any

import pytest

from tessella.server.errors import BadRequest, Unsupported
from tessella.server.routes.open_inference.requests import (
    MAX_DIMENSION_SIZE,
    InputTensor,
    RequestedOutput,
    check_unique,
    parse_output,
    parse_schedule,
    parse_shape,
    reject_shared_memory,
)


def test_shapes() -> None:
    assert parse_shape("a", [1, MAX_DIMENSION_SIZE, 0]) == (1, MAX_DIMENSION_SIZE, 0)
    assert InputTensor("a", "UINT8", (2, 3, 4), b"").element_count == 24


@pytest.mark.parametrize("shape", [None, "8", 8, [1] * 9, [-1], [1.0], [True], [MAX_DIMENSION_SIZE + 1], [None]])
def test_invalid_shapes(shape: Any) -> None:
    with pytest.raises(BadRequest, match="input 'a'"):
        parse_shape("a", shape)


def test_schedules() -> None:
    assert parse_schedule({}) == (0, None)
    assert parse_schedule({"priority": 100, "timeout": 1_500_000, "mine": "x", "sequence_id": 0}) == (100, 1.5)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"priority": 101}, BadRequest, "'priority' must be an integer from 0 to 100, not 101"),
        ({"priority": True}, BadRequest, "'priority' must be an integer"),
        ({"timeout": -1}, BadRequest, "'timeout' must be an integer from 0 to 3600000000, not -1"),
        ({"sequence_id": "a"}, Unsupported, "sequence requests are not supported; omit 'sequence_id'"),
    ],
)
def test_invalid_schedules(parameters: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        parse_schedule(parameters)


def test_an_outputs_own_parameter_precedes_the_requests() -> None:
    assert parse_output("logits", {}, binary=True) == RequestedOutput("logits", binary=True)
    assert parse_output("logits", {"binary_data": False, "classification": 3}, binary=True) == RequestedOutput(
        "logits", 3
    )
    with pytest.raises(BadRequest, match="'binary_data' must be true or false"):
        parse_output("logits", {"binary_data": 1}, binary=True)


def test_shared_memory_is_rejected() -> None:
    reject_shared_memory("input 'a'", {"binary_data_size": 4})
    with pytest.raises(Unsupported, match="input 'a': shared memory is not supported"):
        reject_shared_memory("input 'a'", {"shared_memory_region": "r"})


def test_names_are_unique() -> None:
    check_unique("input", ["a", "b"])
    with pytest.raises(BadRequest, match="input 'a' is given more than once"):
        check_unique("input", ["a", "b", "a"])
