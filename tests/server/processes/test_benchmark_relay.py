"""Benchmarks where front ends and engines are processes: one job for the whole service, known to every front end."""

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import httpx

from ...support.live import Process

LONG = {"model": "digits-vit", "batch_sizes": [1, 2], "iterations": 10_000}


def eventually(look: Callable[[], Any], within: float = 60) -> Any:
    end = time.monotonic() + within
    while not (found := look()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def states(url: str, id: str, connections: int = 8) -> set[str]:
    """What fresh connections, which the front ends share among them, are told of a run."""
    found = set()
    for _ in range(connections):
        answer = httpx.get(f"{url}/benchmarks/{id}")
        found.add(answer.json()["state"] if answer.status_code == 200 else "unknown")
    return found


def test_one_job_for_all_front_ends_that_an_engine_measures() -> None:
    process = Process("--model", "digits-vit", "--frontends", "2").ready()
    try:
        url = f"{process.url}/benchmarks"
        short = httpx.post(url, json={"batch_sizes": [1, 4], "iterations": 3, "against": "eager"}, timeout=60)
        assert short.status_code == 202, short.text
        id = short.json()["id"]
        eventually(lambda: states(process.url, id) == {"done"})
        run = httpx.get(f"{url}/{id}").json()
        assert [row["batch_size"] for row in run["rows"]] == [1, 4]
        assert run["rows"][0]["speedup"] > 0
        long = httpx.post(url, json=LONG, timeout=60).json()["id"]
        assert {httpx.post(url, json=LONG | {"force": True}).status_code for _ in range(6)} == {409}
        httpx.delete(f"{url}/{long}")
        eventually(lambda: states(process.url, long) == {"cancelled"})
        last = httpx.post(url, json=LONG, timeout=60).json()["id"]
        os.kill(process.children("engine")[0], signal.SIGKILL)
        eventually(lambda: states(process.url, last) == {"failed"})
        assert "died" in httpx.get(f"{url}/{last}").json()["error"]
        eventually(lambda: httpx.get(f"{process.url}/readyz").status_code == 200)
        os.kill(process.children("frontend")[0], signal.SIGKILL)
        eventually(lambda: len(process.children("frontend")) == 3)
        eventually(lambda: httpx.get(f"{process.url}/readyz").status_code == 200)
        eventually(lambda: states(process.url, last) == {"failed"})
    finally:
        assert process.stop() == 0
