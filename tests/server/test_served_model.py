"""States of a served model, and the loader of engines in this process."""

import asyncio
from typing import Any

import pytest

from tessella.server.engine.engine import AsyncEngine
from tessella.server.model_names import ModelSpec
from tessella.server.observability.metrics import Metrics
from tessella.server.served_model import ServedModel, local_loader
from tessella.server.settings import Settings

from ..support.gated_runner import GatedRunner

SPEC = ModelSpec("cats", 3, "cats.safetensors")


def test_state_follows_the_engine() -> None:
    async def main() -> None:
        model = ServedModel(SPEC)
        assert (model.state, model.name, model.version) == ("loading", "cats", 3)
        worker = GatedRunner().worker(1)
        model.engine = AsyncEngine(worker, name="cats")
        states = [model.state]
        worker.close()
        states.append(model.state)
        model.reason = "no file"
        states.append(model.state)
        assert states == ["ready", "loading", "failed"]
        assert ServedModel(SPEC, unloaded=True).state == "unloaded"

    asyncio.run(main())


def test_loader_passes_the_settings_to_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, dict[str, Any]]] = []

    async def load(source: str, **options: Any) -> str:
        calls.append((source, options))
        return "engine"

    monkeypatch.setattr(AsyncEngine, "load", load)
    settings = Settings(device="cpu", max_batch_size=7, max_queue_delay_ms=5, max_queue=9, max_gpu_resize_pixels=11)
    metrics = Metrics()

    async def main() -> object:
        return await local_loader(settings, metrics)(ServedModel(SPEC))

    assert asyncio.run(main()) == "engine"
    ((source, options),) = calls
    assert source == "cats.safetensors"
    expected = {
        "name": "cats",
        "version": 3,
        "device": "cpu",
        "max_batch_size": 7,
        "max_delay": 0.005,
        "max_queue": 9,
        "max_gpu_resize_pixels": 11,
        "metrics": metrics,
    }
    assert options | expected == options
