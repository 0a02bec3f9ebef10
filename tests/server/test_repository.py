"""Model repository: versions, aliases, loading, replacing and unloading while requests are in flight."""

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


class GatedLoader:
    """Loader with a gated runner for each source; the source `missing` fails to load."""

    def __init__(self) -> None:
        self.runners: dict[str, GatedRunner] = {}

    async def load(self, model: ServedModel) -> AsyncEngine:
        if model.spec.source == "missing":
            raise LookupError("there is no file 'missing'")
        runner = self.runners[model.spec.source] = GatedRunner()
        return AsyncEngine(runner.worker(4), name=model.name, version=model.version)


def settings_of(**options: Any) -> Settings:
    return Settings(**options)


Scenario = Callable[[ModelRepository, GatedLoader], Awaitable[None]]


def run(scenario: Scenario, settings: Settings) -> None:
    async def main() -> None:
        loader = GatedLoader()
        repository = ModelRepository(settings, loader.load)
        async with asyncio.timeout(60):
            await repository.start()
            await scenario(repository, loader)
            for runner in loader.runners.values():
                runner.gate.set()
            await repository.close()

    asyncio.run(main())


async def answering_source(repository: ModelRepository, loader: GatedLoader, name: str | None) -> str:
    """Source of the model that runs a request for `name`."""
    before = {source: len(runner.batches) for source, runner in loader.runners.items()}
    await repository.engine(name).classify(RED)
    (source,) = (source for source, runner in loader.runners.items() if len(runner.batches) > before[source])
    return source


def test_name_means_its_newest_version_and_aliases_resolve() -> None:
    settings = settings_of(
        model=("dogs",),
        models={"cats": [{"source": "c1"}, {"source": "c3", "version": 3}]},
        aliases={"default": "cats", "old": "cats:1"},
    )

    async def scenario(repository: ModelRepository, loader: GatedLoader) -> None:
        expected = {None: "c3", "cats": "c3", "cats:1": "c1", "old": "c1", "default": "c3", "default:1": "c1"}
        assert {name: await answering_source(repository, loader, name) for name in expected} == expected
        assert await answering_source(repository, loader, "dogs:1") == "dogs"
        assert (repository.default, repository.state) == ("cats", "ready")
        assert {name: model.version for name, model in repository.models.items()} == {"dogs": 1, "cats": 3}
        with pytest.raises(ModelNotFound, match="'cats:2' is not served; available: dogs, cats, default, old"):
            repository.engine("cats:2")
        await repository.load("cats", "c4", version=4)
        assert await answering_source(repository, loader, "default") == "c4"
        assert [model.version for model in await repository.unload("cats:4")] == [4]
        assert await answering_source(repository, loader, "default") == "c3"
        assert [model.version for model in await repository.unload("default")] == [1, 3, 4]
        with pytest.raises(ModelNotFound, match="'cats' is not loaded; loaded models: dogs"):
            repository.engine(None)
        assert (repository.models["cats"].state, repository.state) == ("unloaded", "ready")
        await repository.load("old")
        assert await answering_source(repository, loader, None) == "c1"

    run(scenario, settings)


def test_replacing_a_model_finishes_accepted_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repositories, "GRACE_SECONDS", 0.0)

    async def scenario(repository: ModelRepository, loader: GatedLoader) -> None:
        old, engine = loader.runners["old"], repository.engine("cats")
        old.gate.clear()
        running = [asyncio.create_task(engine.classify(RED)) for _ in range(6)]
        assert await asyncio.to_thread(old.begun.acquire, timeout=30)
        assert (await repository.load("cats", "new")).engine is repository.engine("cats")
        assert await answering_source(repository, loader, "cats") == "new"
        assert not any(task.done() for task in running)
        old.gate.set()
        assert {answer.predictions[0].label for answer in await asyncio.gather(*running)} == {"red 7"}
        while engine.available:
            await asyncio.sleep(0.001)
        with pytest.raises(NotReady, match="shutting down"):
            await engine.classify(RED)

    run(scenario, settings_of(models={"cats": "old"}))


def test_replaced_engine_accepts_requests_in_the_grace_period() -> None:
    async def scenario(repository: ModelRepository, loader: GatedLoader) -> None:
        engine = repository.engine("cats")
        await repository.load("cats", "new")
        for _ in range(20):  # every callback that is ready has run
            await asyncio.sleep(0)
        assert (await engine.classify(RED)).predictions[0].label == "red 7"
        assert len(loader.runners["old"].batches) == 1

    run(scenario, settings_of(models={"cats": "old"}))


@pytest.mark.parametrize("name", ["cats", "birds"])
def test_failed_load_reports_the_reason_and_changes_nothing(name: str) -> None:
    async def scenario(repository: ModelRepository, loader: GatedLoader) -> None:
        before = repository.versions
        with pytest.raises(LoadFailed, match=f"model {name}:1 could not be loaded: there is no file 'missing'"):
            await repository.load(name, "missing")
        assert repository.versions == before
        assert await answering_source(repository, loader, "cats") == "old"
        assert repository.state == "ready"

    run(scenario, settings_of(models={"cats": "old"}))


def test_model_that_failed_at_startup_can_be_loaded_later() -> None:
    async def scenario(repository: ModelRepository, loader: GatedLoader) -> None:
        assert repository.failures == ["cats: there is no file 'missing'"]
        with pytest.raises(NotReady, match="failed: there is no file 'missing'"):
            repository.engine("cats")
        await repository.load("cats", "found")
        assert await answering_source(repository, loader, None) == "found"
        assert repository.state == "ready"

    run(scenario, settings_of(models={"cats": "missing"}))


def test_source_defaults_to_a_new_name_but_not_for_a_new_version() -> None:
    async def scenario(repository: ModelRepository, loader: GatedLoader) -> None:
        assert (await repository.load("timm/birds")).spec.source == "timm/birds"
        assert await answering_source(repository, loader, "timm/birds") == "timm/birds"
        for name, version in (("cats:2", None), ("cats", 2)):
            with pytest.raises(BadRequest, match="version 2 of 'cats' is not served: give its source to load it"):
                await repository.load(name, version=version)
        with pytest.raises(BadRequest, match="1 to 200 printable characters"):
            await repository.load("a\nb", "old")
        with pytest.raises(ModelNotFound, match="model 'dogs' is not served"):
            await repository.unload("dogs")

    run(scenario, settings_of(models={"cats": "old"}))
