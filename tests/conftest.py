"""One real service for all tests of a process that only ask it things."""

from collections.abc import Iterator

import pytest

from .server.live import served


@pytest.fixture(scope="session")
def service() -> Iterator[str]:
    """The URL of `tessella serve` with the checkpoints that ship and small limits."""
    with served("--max-body-bytes", "2000000", "--max-pixels", "1000000") as url:
        yield url
