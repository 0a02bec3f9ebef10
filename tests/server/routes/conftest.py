"""Service in float32 on any device, so that results can be compared with the networks themselves."""

from collections.abc import Iterator

import pytest

from ...support.live import served


@pytest.fixture(scope="session")
def exact() -> Iterator[str]:
    """URL of `tessella serve --dtype float32` with the shipped checkpoints."""
    with served("--dtype", "float32") as url:
        yield url
