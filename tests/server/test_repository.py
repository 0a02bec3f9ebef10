"""Models come, change and go while others answer: names, versions, aliases, and that nothing accepted is lost."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from PIL import Image

from tessella.server import repository as repositories
from tessella.server.engine.engine import AsyncEngine
from tessella.server.errors import BadRequest, LoadFailed, ModelNotFound, NotReady
from tessella.server.repository import ModelRepository
from tessella.server.served_model import ServedModel
from tessella.server.settings import Settings

from ..support import pictures
from ..support.gated_runner import SIDE, GatedRunner

RED = pictures.encode(Image.new("RGB", (SIDE, SIDE), (7, 0, 0)))


class Shelf:
    """A loader: each source is a runner of its own; `missing` cannot be loaded."""

    def __init__(self) -> None:
        self.runners: dict[str, GatedRunner] = {}

    async def load(self, model: ServedModel) -> AsyncEngine:
        if model.spec.source == "missing":
            raise LookupError("there is no file 'missing'")
        runner = self.runners[model.spec.source] = GatedRunner()
        return AsyncEngine(runner.worker(4), name=model.name, version=model.version)


def serving(**options: Any) -> Settings:
    return Settings(**options)


Scenario = Callable[[ModelRepository, Shelf], Awaitable[None]]


def play(scenario: Scenario, settings: Settings) -> None:
    async def main() -> None:
        shelf = Shelf()
        repository = ModelRepository(settings, shelf.load)
        async with asyncio.timeout(60):
            await repository.start()
            await scenario(repository, shelf)
            for runner in shelf.runners.values():
                runner.gate.set()
            await repository.close()

    asyncio.run(main())


async def answers(repository: ModelRepository, shelf: Shelf, name: str | None) -> str:
    """The source of the model that answers for a name."""
    before = {source: len(runner.batches) for source, runner in shelf.runners.items()}
    await repository.engine(name).classify(RED)
    (source,) = (source for source, runner in shelf.runners.items() if len(runner.batches) > before[source])
    return source


def test_the_newest_version_answers_for_the_name_and_aliases_lead_to_it() -> None:
    settings = serving(
        model=("dogs",),
        models={"cats": [{"source": "c1"}, {"source": "c3", "version": 3}]},
        aliases={"default": "cats", "old": "cats:1"},
    )

    async def scenario(repository: ModelRepository, shelf: Shelf) -> None:
        expected = {None: "c3", "cats": "c3", "cats:1": "c1", "old": "c1", "default": "c3", "default:1": "c1"}
        assert {name: await answers(repository, shelf, name) for name in expected} == expected
        assert await answers(repository, shelf, "dogs:1") == "dogs"
        assert (repository.default, repository.state) == ("cats", "ready")
        assert {name: model.version for name, model in repository.models.items()} == {"dogs": 1, "cats": 3}
        with pytest.raises(ModelNotFound, match="'cats:2' is served; there is: dogs, cats, default, old"):
            repository.engine("cats:2")
        await repository.load("cats", "c4", version=4)
        assert await answers(repository, shelf, "default") == "c4"
        assert [model.version for model in await repository.unload("cats:4")] == [4]
        assert await answers(repository, shelf, "default") == "c3"
        assert [model.version for model in await repository.unload("default")] == [1, 3, 4]
        with pytest.raises(ModelNotFound, match="'cats' is not loaded; there is: dogs"):
            repository.engine(None)
        assert (repository.models["cats"].state, repository.state) == ("unloaded", "ready")
        await repository.load("old")
        assert await answers(repository, shelf, None) == "c1"

    play(scenario, settings)


def test_a_swap_loses_nothing_and_changes_the_answer_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repositories, "GRACE_SECONDS", 0.0)

    async def scenario(repository: ModelRepository, shelf: Shelf) -> None:
        old, engine = shelf.runners["old"], repository.engine("cats")
        old.gate.clear()
        running = [asyncio.create_task(engine.classify(RED)) for _ in range(6)]
        assert await asyncio.to_thread(old.begun.acquire, timeout=30)
        assert (await repository.load("cats", "new")).engine is repository.engine("cats")
        assert await answers(repository, shelf, "cats") == "new"
        assert not any(task.done() for task in running)
        old.gate.set()
        assert {answer.predictions[0].label for answer in await asyncio.gather(*running)} == {"red 7"}
        while engine.available:
            await asyncio.sleep(0.001)
        with pytest.raises(NotReady, match="shutting down"):
            await engine.classify(RED)

    play(scenario, serving(models={"cats": "old"}))


def test_who_took_the_engine_just_before_the_swap_is_still_answered() -> None:
    async def scenario(repository: ModelRepository, shelf: Shelf) -> None:
        engine = repository.engine("cats")
        await repository.load("cats", "new")
        for _ in range(20):  # whatever waits for nothing has had its turn
            await asyncio.sleep(0)
        assert (await engine.classify(RED)).predictions[0].label == "red 7"
        assert len(shelf.runners["old"].batches) == 1

    play(scenario, serving(models={"cats": "old"}))


@pytest.mark.parametrize("name", ["cats", "birds"])
def test_a_failed_load_says_why_and_changes_nothing(name: str) -> None:
    async def scenario(repository: ModelRepository, shelf: Shelf) -> None:
        before = repository.versions
        with pytest.raises(LoadFailed, match=f"model {name}:1 could not be loaded: there is no file 'missing'"):
            await repository.load(name, "missing")
        assert repository.versions == before
        assert await answers(repository, shelf, "cats") == "old"
        assert repository.state == "ready"

    play(scenario, serving(models={"cats": "old"}))


def test_a_model_that_failed_at_the_start_can_be_loaded_later() -> None:
    async def scenario(repository: ModelRepository, shelf: Shelf) -> None:
        assert repository.failures == ["cats: there is no file 'missing'"]
        with pytest.raises(NotReady, match="failed: there is no file 'missing'"):
            repository.engine("cats")
        await repository.load("cats", "found")
        assert await answers(repository, shelf, None) == "found"
        assert repository.state == "ready"

    play(scenario, serving(models={"cats": "missing"}))


def test_a_new_name_is_its_own_source_and_a_new_version_needs_one() -> None:
    async def scenario(repository: ModelRepository, shelf: Shelf) -> None:
        assert (await repository.load("timm/birds")).spec.source == "timm/birds"
        assert await answers(repository, shelf, "timm/birds") == "timm/birds"
        for name, version in (("cats:2", None), ("cats", 2)):
            with pytest.raises(BadRequest, match="version 2 of 'cats' is new: say its source"):
                await repository.load(name, version=version)
        with pytest.raises(BadRequest, match="1 to 200 printable"):
            await repository.load("a\nb", "old")
        with pytest.raises(ModelNotFound, match="no model 'dogs'"):
            await repository.unload("dogs")

    play(scenario, serving(models={"cats": "old"}))
