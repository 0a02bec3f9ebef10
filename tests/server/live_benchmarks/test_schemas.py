"""Benchmark schemas: limits of a request, and states of a run."""

from typing import Any, get_args

import pytest
from pydantic import ValidationError

from tessella.server.live_benchmarks.schemas import ENDED, BenchmarkRequest, Run, State

RUN = Run(id="1", request=BenchmarkRequest(), model="m", version=2, backend="", device="", dtype="", created_at="")


@pytest.mark.parametrize(
    "invalid",
    [
        {"batch_sizes": []},
        {"batch_sizes": [0]},
        {"batch_sizes": [4097]},
        {"batch_sizes": [1] * 17},
        {"iterations": 0},
        {"warmup": 0},
        {"against": "lazy"},
        {"force": "yes"},
        {"speed": 1},
    ],
)
def test_invalid_request_is_rejected_by_name(invalid: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(invalid))):
        BenchmarkRequest.model_validate(invalid)


@pytest.mark.parametrize("state", get_args(State))
def test_run_has_ended_in_a_final_state_only(state: State) -> None:
    assert RUN.model_copy(update={"state": state}).ended == (state not in ("queued", "running"))
    assert set(ENDED) < set(get_args(State))


def test_run_names_its_model_with_the_version() -> None:
    assert RUN.served == "m:2"
    assert Run.model_validate_json(RUN.model_dump_json()) == RUN
