"""Tasks: shapes of their results, and their outputs in this process and from another one."""

import asyncio
import os
import socket
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from tessella.kernels.reference import normalise
from tessella.models.config import TNTConfig, ViTConfig
from tessella.models.explain.explain import Method, attention_maps
from tessella.models.onnx.export import ExportOptions, export
from tessella.models.preprocessing.decode import decode
from tessella.models.registry import load_model, load_network
from tessella.server.engine.engine import AsyncEngine
from tessella.server.engine.model_loader import start_worker
from tessella.server.engine.results import Output
from tessella.server.engine.runner import RunnerInfo
from tessella.server.engine.tasks import Task, result_shapes
from tessella.server.engine.worker import Worker
from tessella.server.errors import TaskNotSupported
from tessella.server.processes.engine_client import EngineConnection, RemoteModel
from tessella.server.processes.engine_endpoint import EngineEndpoint
from tessella.server.shared_memory import SlotMemory, create_memory_file

from ...support import pictures

MODELS = ("digits-vit", "digits-tnt")
POOLINGS: dict[Task, Literal["cls", "mean"] | None] = {
    Task.FEATURES: None,
    Task.CLS_FEATURES: "cls",
    Task.MEAN_FEATURES: "mean",
}
ATTENTION_METHODS: dict[Task, Method] = {Task.ATTENTION: "attention", Task.ROLLOUT: "rollout"}
IMAGES = [pictures.encode(pictures.gradient()), pictures.encode(Image.new("RGB", (40, 30), "red"))]
SLOTS = 64


@pytest.fixture(scope="module")
def workers() -> list[Worker]:
    return [start_worker(name, name, 8, dtype="float32") for name in MODELS]


def expected(name: str, task: Task) -> NDArray[np.float32]:
    model = load_model(name, dtype="float32")
    pixels = np.stack([model.preprocess(decode(image)) for image in IMAGES])
    if task in ATTENTION_METHODS:
        network = load_network(name)
        mean, std = torch.tensor(model.preprocessing.mean), torch.tensor(model.preprocessing.std)
        images = normalise(torch.from_numpy(pixels), mean, std, torch.float32)
        return attention_maps(network, images, ATTENTION_METHODS[task]).numpy()
    values: NDArray[np.float32] = (
        model.logits(pixels) if task == Task.LOGITS else model.embeddings(pixels, POOLINGS[task])
    ).numpy()
    return values


def run(engine: AsyncEngine, task: Task) -> NDArray[np.float32]:
    return values(asyncio.run(engine.run_many(IMAGES, task)))


def values(results: Sequence[object]) -> NDArray[np.float32]:
    assert all(isinstance(result, Output) for result in results), results
    return np.stack([result.values for result in results if isinstance(result, Output)])


@pytest.mark.parametrize("task", [Task.LOGITS, *POOLINGS, *ATTENTION_METHODS])
@pytest.mark.parametrize("index", range(len(MODELS)))
def test_engine_outputs_equal_the_models(workers: list[Worker], index: int, task: Task) -> None:
    output = run(AsyncEngine(workers[index], name=MODELS[index]), task)
    np.testing.assert_allclose(output, expected(MODELS[index], task), atol=1e-5)


def test_all_tasks_run_concurrently_across_a_socket(workers: list[Worker]) -> None:
    slot_bytes = max(worker.info.slot_bytes(0) for worker in workers)
    memory = create_memory_file(SLOTS * slot_bytes)
    memories = [SlotMemory(descriptor, SLOTS, slot_bytes) for descriptor in (os.dup(memory), memory)]

    async def main() -> None:
        local, remote = socket.socketpair()
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(partial(EngineEndpoint, memories[0], dict(enumerate(workers))), remote)
        transport, connection = await loop.connect_accepted_socket(partial(EngineConnection, memories[1]), local)
        requests, runs = [], []
        for index, worker in enumerate(workers):
            model = RemoteModel(MODELS[index], RunnerInfo.from_dict(worker.info.to_dict()), 8)
            model.attach(0, connection, index)
            engine = AsyncEngine(model, name=MODELS[index])
            requests += [(MODELS[index], task) for task in engine.info.results]
            runs += [engine.run_many(IMAGES, task) for task in engine.info.results]
        for (name, task), results in zip(requests, await asyncio.gather(*runs), strict=True):
            np.testing.assert_allclose(values(results), expected(name, task), atol=1e-5)
        transport.close()

    asyncio.run(main())


def test_onnx_file_supports_logits_only(tmp_path: Path) -> None:
    file = tmp_path / "digits.onnx"
    export("digits-vit", file, ExportOptions())
    worker = start_worker(str(file), "digits.onnx", 8)

    async def main() -> None:
        engine = AsyncEngine(worker, name="digits.onnx")
        with pytest.raises(
            TaskNotSupported, match=r"'digits.onnx' does not support features: .* onnxruntime it supports logits"
        ):
            await engine.run_many([b"no image"], Task.FEATURES)

    asyncio.run(main())


def test_exported_checkpoint_still_supports_features() -> None:
    worker = start_worker("digits-tnt", "digits-tnt", 8, backend="onnxruntime", dtype="float32")
    assert "_checkpoint" not in vars(worker._runner)
    output = run(AsyncEngine(worker, name="digits-tnt"), Task.MEAN_FEATURES)
    np.testing.assert_allclose(output, expected("digits-tnt", Task.MEAN_FEATURES), atol=1e-5)


def test_shapes_of_results_follow_the_configuration() -> None:
    plain = result_shapes(ViTConfig())
    assert plain[Task.LOGITS] == (1000,)
    assert {plain[task] for task in POOLINGS} == {(768,)}
    assert Task.CLS_FEATURES not in result_shapes(ViTConfig(class_token=False, pooling="mean"))
    assert Task.LOGITS not in result_shapes(ViTConfig(num_classes=0))
    assert result_shapes(ViTConfig(pooling="token_mean"))[Task.FEATURES] == (1536,)
    assert result_shapes(TNTConfig())[Task.MEAN_FEATURES] == (384,)
