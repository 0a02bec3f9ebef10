"""Plan of a run: invalid values are refused before anything is started."""

from typing import Any

import pytest

from tessella.benchmarks.service.plan import Plan


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"modes": ("closed", "sideways")}, "sideways is not one of closed, open, overload, kill"),
        ({"peers": ("triton",)}, "triton is not one of fastapi, litserve"),
        ({"dtype": "int3"}, "int3 is not one of float32"),
        ({"sizes": ("huge",)}, "such as 500x375"),
        ({"clients": (0,)}, "above 0"),
        ({"rates": (10.0, -1.0)}, "above 0"),
        ({"seconds": 0.0}, "above 0"),
        ({"rounds": 0}, "above 0"),
        ({"modes": ("open",)}, "mode open needs a rate"),
        ({"modes": ("kill",), "url": "http://host"}, "start their own servers"),
    ],
)
def test_invalid_values_are_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Plan(**given)


def test_the_rate_of_an_open_loop_is_given_or_derived_from_a_closed_loop() -> None:
    assert Plan(modes=("open",), rates=(5.0,)).rates == (5.0,)
    assert Plan(modes=("closed", "open")).rates == ()
