"""A service that computes in float32 wherever it runs: what it answers is compared with the networks themselves."""

from collections.abc import Iterator

import pytest

from ...support.live import served


@pytest.fixture(scope="session")
def exact() -> Iterator[str]:
    """The URL of `tessella serve --dtype float32` with the checkpoints that ship."""
    with served("--dtype", "float32") as url:
        yield url
