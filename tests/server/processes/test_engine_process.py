"""Engine process inside the test's process: a gated runner in place of a model, the test in place of a supervisor."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tessella.server.live_benchmarks.schemas import BenchmarkRequest, Run
from tessella.server.model_names import NumberedSpec
from tessella.server.processes import engine_process
from tessella.server.processes.benchmark_relay import REFUSED, START
from tessella.server.processes.control_channel import ControlChannel, Message, channel_pair
from tessella.server.processes.engine_process import EngineProcess
from tessella.server.settings import Settings

from ...support.gated_runner import GatedRunner

CATS = NumberedSpec(0, "cats", 1, "cats.onnx")
RUN = Run(id="1", request=BenchmarkRequest(), model="dogs", backend="", device="", dtype="", created_at="")


@dataclass
class Supervisor:
    """The other end of the engine's control channel."""

    channel: ControlChannel
    received: "asyncio.Queue[Message]"

    async def next(self, *kinds: str) -> Message:
        """The next message of one of these kinds; others are skipped."""
        while (message := await self.received.get())["kind"] not in kinds:
            pass
        return message


@pytest.fixture
def supervise(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Supervisor], Awaitable[None]]], None]:
    """Runs a scenario beside an engine that starts with `cats`, then stops the engine."""

    def start_worker(source: str, *_: Any, **__: Any) -> Any:
        if source == "missing":
            raise FileNotFoundError("no such file")
        return GatedRunner().worker(4)

    monkeypatch.setattr(engine_process, "start_worker", start_worker)
    for name in ("force_exit_after", "freeze_gc"):  # they concern a process of its own
        monkeypatch.setattr(engine_process, name, lambda *_: None)

    async def main(scenario: Callable[[Supervisor], Awaitable[None]]) -> None:
        ours, theirs = channel_pair()
        received = asyncio.Queue[Message]()
        supervisor = Supervisor(
            ControlChannel(ours, lambda message, _: received.put_nowait(message), lambda: None), received
        )
        engine = asyncio.create_task(EngineProcess(theirs, Settings(), [CATS]).run())
        async with asyncio.timeout(30):
            await scenario(supervisor)
            supervisor.channel.send({"kind": "stop"})
            await engine
        supervisor.channel.close()

    return lambda scenario: asyncio.run(main(scenario))


def test_models_are_reported_before_the_engine_has_started(supervise: Any) -> None:
    async def scenario(supervisor: Supervisor) -> None:
        message = await supervisor.next("model_loaded", "engine_started")
        assert (message["kind"], message["number"], message["model"]) == ("model_loaded", 0, "cats:1")
        assert message["slot_bytes"] >= 256 * 4
        await supervisor.next("engine_started")
        assert (await supervisor.next("heartbeat"))["busy_seconds"] == 0

    supervise(scenario)


def test_models_are_loaded_and_unloaded_on_request(supervise: Any) -> None:
    async def scenario(supervisor: Supervisor) -> None:
        await supervisor.next("engine_started")
        supervisor.channel.send({"kind": "load", "model": [1, "dogs", 1, "missing"]})
        failure = await supervisor.next("load_failed", "model_loaded")
        assert (failure["number"], failure["model"], failure["reason"]) == (1, "dogs:1", "no such file")
        supervisor.channel.send({"kind": "load", "model": [2, "dogs", 1, "dogs.onnx"]})
        assert (await supervisor.next("load_failed", "model_loaded"))["number"] == 2
        supervisor.channel.send({"kind": "unload", "numbers": [1, 2]})
        supervisor.channel.send({"kind": "load", "model": [3, "birds", 1, "birds.onnx"]})
        assert (await supervisor.next("load_failed", "model_loaded"))["number"] == 3

    supervise(scenario)


def test_a_benchmark_of_a_model_that_is_gone_is_refused(supervise: Any) -> None:
    async def scenario(supervisor: Supervisor) -> None:
        await supervisor.next("engine_started")
        run = RUN.model_dump(mode="json")
        supervisor.channel.send({"kind": START, "number": 9, "source": "dogs.onnx", "run": run})
        refusal = await supervisor.next(REFUSED)
        assert (refusal["id"], refusal["error_type"]) == ("1", "not_ready")

    supervise(scenario)
