"""Repository of a front end whose supervisor is the test."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

import pytest

from tessella.server.errors import LoadFailed
from tessella.server.model_names import ModelSpec, NumberedSpec
from tessella.server.observability.metrics import Metrics
from tessella.server.processes.control_channel import Message
from tessella.server.processes.engine_client import EngineConnection
from tessella.server.processes.remote_repository import RemoteRepository
from tessella.server.settings import Settings

from ...support.gated_runner import GatedRunner

CATS, DOGS = NumberedSpec(0, "cats", 1, "cats.onnx"), NumberedSpec(1, "dogs", 1, "dogs.onnx")


class Connection:
    """Stand-in for an EngineConnection without requests."""

    available = True
    in_flight = 0
    draining = False

    def drain(self) -> None:
        self.draining = True


def loaded(model: NumberedSpec) -> Message:
    """The engine's message of a loaded model."""
    info = GatedRunner.info.to_dict()
    return {"kind": "model_loaded", "number": model.number, "name": model.name, "max_batch_size": 4, "info": info}


def revision(number: int, *models: NumberedSpec) -> Message:
    return {"kind": "set_models", "revision": number, "models": [list(model) for model in models], "aliases": {}}


class Supervised:
    """The repository of a front end that started with `cats`, and all that it sent."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        settings = Settings(model=("cats=cats.onnx",))
        self.remote = RemoteRepository(settings, [CATS], {}, Metrics(), self.sent.append)
        self.connection = Connection()
        self.attach(self.connection, CATS)

    def attach(self, connection: Connection, *models: NumberedSpec) -> None:
        self.remote.attach(0, cast(EngineConnection, connection), map(loaded, models))


def supervised(scenario: Callable[[Supervised], Awaitable[None]]) -> None:
    async def main() -> None:
        front_end = Supervised()
        await front_end.remote.repository.start()
        async with asyncio.timeout(30):
            await scenario(front_end)

    asyncio.run(main())


def test_the_supervisors_models_are_served_and_acknowledged() -> None:
    async def scenario(front_end: Supervised) -> None:
        repository = front_end.remote.repository
        front_end.attach(Connection(), CATS, DOGS)
        front_end.remote.set_models(revision(7, CATS, DOGS))
        assert [model.state for model in repository.versions] == ["ready", "ready"]
        assert front_end.sent[-1] == {"kind": "switched", "revision": 7}
        front_end.remote.set_models(revision(8, DOGS))
        assert [model.name for model in repository.versions if model.state == "ready"] == ["dogs"]
        await asyncio.sleep(0.01)
        assert front_end.sent[-1] == {"kind": "switched", "revision": 8}, "a request may still be in flight"
        await repository.drainer.close()
        while front_end.sent[-1] != {"kind": "released", "revision": 8}:
            await asyncio.sleep(0.001)

    supervised(scenario)


def test_a_replaced_connection_is_drained() -> None:
    async def scenario(front_end: Supervised) -> None:
        front_end.attach(Connection(), CATS)
        assert front_end.connection.draining

    supervised(scenario)


def test_requests_wait_for_the_supervisors_result() -> None:
    async def scenario(front_end: Supervised) -> None:
        loading = asyncio.create_task(front_end.remote.load(ModelSpec("dogs", 1, "dogs.onnx")))
        renaming = asyncio.create_task(front_end.remote.set_alias("pet", "cats"))
        await asyncio.sleep(0)
        load, alias = front_end.sent[-2:]
        assert (load["kind"], load["models"]) == ("load", [("dogs", 1, "dogs.onnx")])
        assert (alias["kind"], alias["alias"], alias["target"]) == ("alias", "pet", "cats")
        error = {"error": "no such file", "error_type": LoadFailed.error_type}
        front_end.remote.on_rollout_result({"request_id": alias["request_id"]})
        await renaming
        assert not loading.done()
        front_end.remote.on_rollout_result({"request_id": load["request_id"], **error})
        with pytest.raises(LoadFailed, match="no such file"):
            await loading

    supervised(scenario)
