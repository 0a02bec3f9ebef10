"""Benchmarks of a service with several processes: one run at a time, visible on every front end."""

import asyncio
import os
import signal
import time
from collections.abc import Callable

import httpx
import pytest

from tessella.server.errors import NotReady
from tessella.server.live_benchmarks.schemas import BenchmarkRequest, Run
from tessella.server.processes.benchmark_relay import CANCEL, START, UPDATE, BenchmarkRelay, RemoteBenchmarks
from tessella.server.processes.children import ChildProcesses
from tessella.server.processes.control_channel import Message

from ...support.children import child, sent_to
from ...support.live import Process

LONG = {"model": "digits-vit", "batch_sizes": [1, 2], "iterations": 10_000}
RUN = Run(id="1", request=BenchmarkRequest(), model="cats", backend="", device="", dtype="", created_at="")


def test_a_run_is_started_on_the_engine_that_has_the_model_and_published_to_all_front_ends() -> None:
    front_ends, engines = [child("frontend"), child("frontend", 1)], [child("engine"), child("engine", 1)]
    for engine, model in zip(engines, ("dogs:1", "cats:1"), strict=True):
        engine.started, engine.models = True, {7: {"model": model}}
    relay = BenchmarkRelay(ChildProcesses({*front_ends, *engines}))
    start = {"kind": START, "source": "cats.onnx", "run": RUN.model_dump(mode="json")}
    relay.on_message(front_ends[0], start)
    assert sent_to(engines[1]) == [start | {"number": 7}]
    assert sent_to(engines[0]) == []
    relay.on_message(front_ends[1], {"kind": CANCEL, "id": "1"})
    assert sent_to(engines[1], CANCEL)
    relay.on_exit(engines[1])
    for front_end in front_ends:
        assert [message["run"]["state"] for message in sent_to(front_end, UPDATE)] == ["queued", "failed"]
    late = child("frontend", 2)
    relay.add_front_end(late)
    assert [message["run"]["state"] for message in sent_to(late)] == ["failed"]


def test_a_run_without_an_engine_is_refused_to_the_front_end_that_asked() -> None:
    asking, other = child("frontend"), child("frontend", 1)
    relay = BenchmarkRelay(ChildProcesses({asking, other}))
    relay.on_message(asking, {"kind": START, "source": "cats.onnx", "run": RUN.model_dump(mode="json")})
    (refusal,) = sent_to(asking)
    assert (refusal["id"], refusal["error_type"]) == ("1", "not_ready")
    assert sent_to(other) == []

    async def start() -> None:
        sent: list[Message] = []
        benchmarks = RemoteBenchmarks(sent.append)
        starting = asyncio.create_task(benchmarks.start(RUN, "cats.onnx"))
        await asyncio.sleep(0)
        assert sent[0]["kind"] == START
        benchmarks.on_message(refusal)
        with pytest.raises(NotReady, match="is restarting"):
            await starting

    asyncio.run(start())


def eventually(condition: Callable[[], object], timeout: float = 60) -> None:
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def states(url: str, id: str, connections: int = 8) -> set[str]:
    """States of a run that are reported over new connections, which the kernel distributes over the front ends."""
    states = set()
    for _ in range(connections):
        response = httpx.get(f"{url}/benchmarks/{id}")
        states.add(response.json()["state"] if response.status_code == 200 else "unknown")
    return states


def test_one_run_at_a_time_is_visible_on_all_front_ends() -> None:
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
