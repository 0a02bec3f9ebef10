"""Rate limits per API key, in one process and shared by several."""

import os
import subprocess
import sys
from collections import Counter

import httpx
import pytest
from pydantic import ValidationError

from tessella.server.http.rate_limit import RateLimiter, create_rate_limit_file
from tessella.server.settings import Settings

from ...support import pictures
from ...support.live import served

PNG = pictures.encode(pictures.gradient())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr("tessella.server.http.rate_limit.time.monotonic", lambda: now[0])
    return now


def test_bursts_of_one_second_then_one_request_per_interval(clock: list[float]) -> None:
    limiter = RateLimiter(4, keys=2)
    assert [limiter.admit(0) for _ in range(5)] == [0, 0, 0, 0, pytest.approx(0.25)]
    assert limiter.admit(1) == 0
    clock[0] += 0.24
    assert limiter.admit(0) == pytest.approx(0.01)
    clock[0] += 0.02
    assert limiter.admit(0) == 0
    assert limiter.admit(0) > 0
    clock[0] += 100
    assert [bool(limiter.admit(0)) for _ in range(6)] == [False] * 4 + [True] * 2


def test_rates_below_one_per_second(clock: list[float]) -> None:
    limiter = RateLimiter(0.1, keys=1)
    assert [limiter.admit(0), limiter.admit(0)] == [0, pytest.approx(10)]


def test_processes_share_the_state_of_a_key() -> None:
    descriptor = create_rate_limit_file(1)
    code = (
        "import sys; from tessella.server.http.rate_limit import RateLimiter; "
        f"limiter = RateLimiter(0.001, 1, {descriptor}); print(sum(limiter.admit(0) == 0 for _ in range(100)))"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code], pass_fds=[descriptor], stdout=subprocess.PIPE) for _ in range(3)
    ]
    assert sum(int(process.communicate(timeout=60)[0]) for process in started) == 1
    os.close(descriptor)


@pytest.mark.parametrize("front_ends", ["0", "2"])
def test_each_key_has_its_rate_across_front_ends(front_ends: str) -> None:
    options = ("--model", "digits-vit", "--api-key", "red", "--api-key", "blue", "--rate-limit", "0.01")
    with served(*options, "--frontends", front_ends) as url:

        def ask(key: str) -> httpx.Response:  # new connection each time: any front end may accept it
            return httpx.post(f"{url}/classify", content=PNG, headers={"x-api-key": key})

        assert Counter(ask("red").status_code for _ in range(8)) == {200: 1, 429: 7}
        assert ask("blue").status_code == 200
        assert ask("green").status_code == 401
        assert httpx.get(f"{url}/healthz").status_code == 200
        refused = ask("red")
        assert refused.json()["error_type"] == "rate_limited"
        assert 50 < int(refused.headers["retry-after"]) <= 100


def test_a_rate_limit_without_keys_is_an_error() -> None:
    with pytest.raises(ValidationError, match="none is set: add api_key"):
        Settings(rate_limit=5)
