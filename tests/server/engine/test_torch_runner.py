"""PyTorch runner with the Triton backend, in Triton's interpreter: resizing on the device."""

import asyncio

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tessella.models.preprocessing.images import InputImage
from tessella.server.engine.engine import AsyncEngine
from tessella.server.engine.tasks import Task
from tessella.server.engine.torch_runner import TorchRunner
from tessella.server.engine.worker import Worker

from ...support import pictures
from ...support.exports import VIT, write_checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_checkpoint(tmp_path_factory.mktemp("own") / "own.safetensors", VIT))


def test_images_of_any_size_give_the_results_of_preprocessed_ones(checkpoint: str) -> None:
    runner, plain = TorchRunner(checkpoint, backend="triton", dtype="float32"), TorchRunner(checkpoint, backend="torch")
    assert (runner.info.resizes, plain.info.resizes) == (True, False)
    images = [pictures.gradient(width, height) for width, height in ((60, 41), (33, 90))]
    preprocessed = [InputImage(runner.info.preprocessing(image)) for image in images]
    mixed = [preprocessed[0], InputImage(np.asarray(images[1]), preprocessed=False)]
    for task in (Task.LOGITS, Task.ATTENTION):
        expected = runner.run(np.stack([image.pixels for image in preprocessed]), task)
        for batch in (mixed, preprocessed):
            assert np.array_equal(runner.finish(runner.start(batch, task)), expected)
    with pytest.raises(ValueError, match="does not resize"):
        plain.run(mixed)


def test_uploaded_image_is_resized_by_the_kernels(checkpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = TorchRunner(checkpoint, backend="triton", dtype="float32")
    image = pictures.gradient(70, 50)
    expected = runner.run(runner.info.preprocessing(image)[None])[0]
    worker = Worker(runner, name="own", max_batch_size=2)
    worker.start()

    async def main() -> NDArray[np.float32]:
        engine = AsyncEngine(worker, name="own")
        (output,) = await engine.run_all([pictures.encode(image)], Task.LOGITS)
        await engine.close()
        return output.values

    monkeypatch.setattr(Image.Image, "resize", lambda *_: pytest.fail("resized in a decoding thread"))
    assert np.array_equal(asyncio.run(main()), expected)
