"""Images that the model resizes itself: passed on as decoded, in this process and to another one."""

import asyncio
import os
import socket
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tessella.models.preprocessing.decode import decode
from tessella.models.preprocessing.images import MAX_DEVICE_RESIZE_SIDE, ImageBatch, InputImage
from tessella.models.preprocessing.preprocess import Preprocessing
from tessella.server.engine.engine import AsyncEngine
from tessella.server.engine.tasks import Task
from tessella.server.engine.worker import Inference, Worker
from tessella.server.errors import RequestTooLarge
from tessella.server.processes.engine_client import EngineConnection, RemoteModel
from tessella.server.processes.engine_endpoint import EngineEndpoint
from tessella.server.shared_memory import SlotMemory, create_memory_file

from ...support import pictures
from ...support.gated_runner import SIDE, GatedRunner

PREPROCESSING = Preprocessing(size=SIDE, resize=2 * SIDE)
MAX_PIXELS = 60 * 40
SMALL, LARGE = pictures.gradient().resize((60, 40)), pictures.gradient().resize((61, 40))
ROTATED = pictures.rotated_by_exif()


class ResizingRunner(GatedRunner):
    """Runner whose results are the pixels after its own resize. `seen`: shape and state of its input images."""

    info = replace(
        GatedRunner.info,
        preprocessing=PREPROCESSING,
        resizes=True,
        results=dict.fromkeys((Task.LOGITS, Task.ATTENTION), (SIDE, SIDE, 3)),
    )

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[tuple[int, ...], bool]] = []

    def run(self, images: ImageBatch, task: Task = Task.LOGITS) -> NDArray[np.float32]:
        self.begun.release()
        assert self.gate.wait(30)
        if isinstance(images, np.ndarray):  # warm-up
            return images.astype(np.float32)
        self.seen += [(image.pixels.shape, image.preprocessed) for image in images]
        pixels = [
            image.pixels if image.preprocessed else PREPROCESSING(Image.fromarray(image.pixels)) for image in images
        ]
        return np.stack(pixels).astype(np.float32)


def run_image(worker: Worker, image: bytes | NDArray[np.uint8], max_pixels: int) -> NDArray[np.float32]:
    """Result of an image from an engine around the worker; closes both."""

    async def main() -> NDArray[np.float32]:
        engine = AsyncEngine(worker, name="resizing", max_gpu_resize_pixels=max_pixels)
        (output,) = await engine.run_all([image], Task.LOGITS)
        await engine.close()
        return output.values

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("image", "max_pixels", "seen"),
    [
        (SMALL, MAX_PIXELS, ((40, 60, 3), False)),
        (LARGE, MAX_PIXELS, ((SIDE, SIDE, 3), True)),
        (SMALL, 0, ((SIDE, SIDE, 3), True)),
    ],
)
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_model_resizes_images_up_to_the_limit(
    image: Image.Image, max_pixels: int, seen: tuple[tuple[int, ...], bool], kind: str
) -> None:
    runner = ResizingRunner()
    worker = runner.worker(4)
    data = pictures.encode(image, kind)
    values = run_image(worker, data, max_pixels)
    assert runner.seen == [seen]
    assert np.array_equal(values, PREPROCESSING(decode(data)))


def test_image_with_a_side_beyond_the_limit_is_resized_on_the_host() -> None:
    runner = ResizingRunner()
    run_image(runner.worker(4), pictures.encode(Image.new("RGB", (MAX_DEVICE_RESIZE_SIDE + 1, 40))), 10**7)
    assert runner.seen == [((SIDE, SIDE, 3), True)]


def test_preprocessed_pixels_pass_unchanged() -> None:
    runner = ResizingRunner()
    worker = runner.worker(4)
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    assert np.array_equal(run_image(worker, pixels, MAX_PIXELS), pixels)
    assert runner.seen == [((SIDE, SIDE, 3), True)]


def test_exif_rotation_is_applied_before_the_model() -> None:
    runner = ResizingRunner()
    assert np.array_equal(run_image(runner.worker(4), ROTATED, 64 * 48), PREPROCESSING(decode(ROTATED)))
    assert runner.seen == [((*decode(ROTATED).size[::-1], 3), False)]


def test_extreme_aspect_ratio_is_rejected_before_the_model() -> None:
    runner = ResizingRunner()
    with pytest.raises(RequestTooLarge, match="extreme aspect ratio"):
        run_image(runner.worker(4), pictures.encode(Image.new("RGB", (1_000_000, 1))), 2_000_000)
    assert not runner.seen


def test_images_of_several_sizes_share_a_batch_across_a_socket() -> None:
    """One image per slot, of any size; the last one is already preprocessed."""
    runner = ResizingRunner()
    worker = runner.worker(8)
    slot_bytes = runner.info.slot_bytes(MAX_PIXELS)
    assert slot_bytes == max(3 * MAX_PIXELS, 4 * SIDE * SIDE * 3)
    images = [pictures.gradient(width, height) for width, height in ((60, 40), (33, 57), (9, 8), (8, 8))]
    inputs = [InputImage(np.asarray(image), preprocessed=False) for image in images] + [
        InputImage(PREPROCESSING(images[0]))
    ]

    async def main() -> list[Inference]:
        memory = create_memory_file(8 * slot_bytes)
        memories = [SlotMemory(descriptor, 8, slot_bytes) for descriptor in (os.dup(memory), memory)]
        local, remote = socket.socketpair()
        loop = asyncio.get_running_loop()
        endpoint, _ = await loop.connect_accepted_socket(partial(EngineEndpoint, memories[0], {0: worker}), remote)
        _, connection = await loop.connect_accepted_socket(partial(EngineConnection, memories[1]), local)
        model = RemoteModel("resizing", runner.info, 8)
        model.attach(0, connection, 0)
        for _ in range(9):  # a failed submit releases its slot
            with pytest.raises(ValueError, match="a slot has"):
                model.submit(InputImage(np.zeros((MAX_PIXELS, 2, 3), np.uint8), preprocessed=False))
        runner.gate.clear()
        first = asyncio.wrap_future(model.submit(inputs[0]))
        await asyncio.to_thread(runner.begun.acquire)
        others = [asyncio.wrap_future(model.submit(item)) for item in inputs[1:]]
        while worker.waiting < len(others):
            await asyncio.sleep(0.001)
        runner.gate.set()
        results = await asyncio.gather(first, *others)
        connection.drain()
        while not endpoint.is_closing():
            await asyncio.sleep(0.001)
        return results

    results = asyncio.run(main())
    worker.close()
    assert [result.batch_size for result in results] == [1, 4, 4, 4, 4]
    for result, image in zip(results, [*images, images[0]], strict=True):
        assert np.array_equal(result.values, PREPROCESSING(image))
