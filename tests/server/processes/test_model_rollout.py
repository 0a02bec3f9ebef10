"""Model rollout over children that only record messages: order, errors, and what happens when a child exits."""

import asyncio
from collections.abc import Awaitable, Callable

from tessella.server.model_names import ModelSpec
from tessella.server.processes.children import ChildProcess, ChildProcesses
from tessella.server.processes.control_channel import Message
from tessella.server.processes.model_rollout import ModelRollout

from ...support.children import child, sent_to

CATS, DOGS = ModelSpec("cats", 1, "cats.onnx"), ModelSpec("dogs", 1, "dogs.onnx")
REQUEST: Message = {"request_id": 9}


class Service:
    """One started engine, which has `cats`, two front ends, and their rollout."""

    def __init__(self) -> None:
        self.engine = child("engine")
        self.engine.started, self.engine.assigned, self.engine.models = True, {0}, {0: {}}
        self.front_ends = [child("frontend", index) for index in range(2)]
        self.children = ChildProcesses({self.engine, *self.front_ends})
        self.connected: list[tuple[ChildProcess, ChildProcess]] = []
        self.rollout = ModelRollout([CATS], {}, self.children, lambda *pair: self.connected.append(pair))

    async def load(self, spec: ModelSpec) -> None:
        rows = [(spec.name, spec.version, spec.source)]
        self.rollout.on_request(self.front_ends[0], REQUEST | {"kind": "load", "models": rows})
        await settled()

    async def acknowledge(self, kind: str, revision: int = 0) -> None:
        for front_end in self.front_ends:
            self.rollout.on_acknowledgement(front_end, {"kind": kind, "revision": revision})
        await settled()

    @property
    def results(self) -> list[Message]:
        return sent_to(self.front_ends[0], "rollout_result")

    @property
    def served(self) -> list[str]:
        return [name for _, name, *_ in sent_to(self.front_ends[1], "set_models")[-1]["models"]]


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def with_service(scenario: Callable[[Service], Awaitable[None]]) -> None:
    async def main() -> None:
        await scenario(Service())

    asyncio.run(main())


def test_a_model_is_loaded_then_served_then_confirmed() -> None:
    async def scenario(service: Service) -> None:
        await service.load(DOGS)
        (load,) = sent_to(service.engine, "load")
        assert load["model"] == (1, "dogs", 1, "dogs.onnx")
        assert not sent_to(service.front_ends[1])
        service.rollout.on_model_loaded(service.engine, {"kind": "model_loaded", "number": 1})
        await settled()
        assert service.served == ["cats", "dogs"]
        assert {front_end for front_end, _ in service.connected} == set(service.front_ends)
        assert service.results == []
        await service.acknowledge("switched")
        assert service.results == [REQUEST | {"kind": "rollout_result"}]

    with_service(scenario)


def test_a_replaced_model_is_unloaded_when_every_front_end_has_released_it() -> None:
    async def scenario(service: Service) -> None:
        await service.load(ModelSpec("cats", 1, "better.onnx"))
        service.rollout.on_model_loaded(service.engine, {"kind": "model_loaded", "number": 1})
        await settled()
        await service.acknowledge("switched")
        assert not sent_to(service.engine, "unload")
        await service.acknowledge("released")
        assert [message["numbers"] for message in sent_to(service.engine, "unload")] == [[0]]
        assert service.engine.models.keys() == service.engine.assigned == {1}

    with_service(scenario)


def test_a_failed_load_changes_nothing() -> None:
    async def scenario(service: Service) -> None:
        await service.load(DOGS)
        failure = {"kind": "load_failed", "number": 1, "model": "dogs:1", "reason": "no such file"}
        assert service.rollout.on_load_failed(service.engine, failure)
        await settled()
        (result,) = service.results
        assert (result["error_type"], "no such file" in result["error"]) == ("load_failed", True)
        assert service.rollout.models == {0: CATS}
        assert not sent_to(service.front_ends[1])

    with_service(scenario)


def test_a_child_that_exits_is_not_waited_for() -> None:
    async def scenario(service: Service) -> None:
        service.rollout.on_request(service.front_ends[0], REQUEST | {"kind": "alias", "alias": "pet", "target": "cats"})
        await settled()
        service.rollout.on_acknowledgement(service.front_ends[0], {"kind": "switched", "revision": 0})
        await settled()
        assert service.results == []
        service.rollout.on_exit(service.front_ends[1])
        await settled()
        assert service.results == [REQUEST | {"kind": "rollout_result"}]
        assert service.rollout.state["aliases"] == {"pet": "cats"}

    with_service(scenario)


def test_an_engine_that_started_meanwhile_loads_what_it_lacks() -> None:
    async def scenario(service: Service) -> None:
        late = child("engine", 1)
        service.rollout.assign_missing(late)
        assert [message["model"].name for message in sent_to(late, "load")] == ["cats"]
        failure = {"kind": "load_failed", "number": 0, "model": "cats:1", "reason": "no such file"}
        assert not service.rollout.on_load_failed(late, failure), "it cannot start without the model"

    with_service(scenario)


def test_an_alias_of_an_unloaded_model_is_refused() -> None:
    async def scenario(service: Service) -> None:
        request = REQUEST | {"kind": "alias", "alias": "pet", "target": "dogs"}
        service.rollout.on_request(service.front_ends[0], request)
        await settled()
        assert [result["error_type"] for result in service.results] == ["not_ready"]

    with_service(scenario)
