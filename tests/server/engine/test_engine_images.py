"""Images that are left to the model: handed over as decoded, over sockets too, where the model resizes and they fit."""

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
from tessella.server.engine.decode_pool import DecodePool
from tessella.server.engine.engine import AsyncEngine
from tessella.server.engine.tasks import Task
from tessella.server.engine.worker import Inference, Worker
from tessella.server.errors import RequestTooLarge
from tessella.server.processes.engine_client import EngineConnection, RemoteModel
from tessella.server.processes.engine_endpoint import EngineEndpoint
from tessella.server.shared_memory import SlotMemory, create_memory_file

from ...support import pictures
from ...support.gated_runner import SIDE, GatedRunner

RECIPE = Preprocessing(size=SIDE, resize=2 * SIDE)
MOST = 60 * 40
SMALL, LARGE = pictures.gradient().resize((60, 40)), pictures.gradient().resize((61, 40))
SMALL_PNG = pictures.encode(SMALL)
TURNED = pictures.rotated_by_exif()


class ResizingRunner(GatedRunner):
    """Answers with the pixels that its own resize gives. `seen`: what was handed over."""

    info = replace(
        GatedRunner.info,
        preprocessing=RECIPE,
        resizes=True,
        results=dict.fromkeys((Task.LOGITS, Task.ATTENTION), (SIDE, SIDE, 3)),
    )

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[tuple[int, ...], bool]] = []

    def run(self, frames: ImageBatch, task: Task = Task.LOGITS) -> NDArray[np.float32]:
        self.begun.release()
        assert self.gate.wait(30)
        if isinstance(frames, np.ndarray):  # warm-up
            return frames.astype(np.float32)
        self.seen += [(frame.pixels.shape, frame.preprocessed) for frame in frames]
        return np.stack([f.pixels if f.preprocessed else RECIPE(Image.fromarray(f.pixels)) for f in frames]).astype(
            np.float32
        )


def answer(worker: Worker, image: bytes | NDArray[np.uint8], most: int) -> NDArray[np.float32]:
    """By an engine in the worker's process; ends both."""

    async def ask() -> NDArray[np.float32]:
        engine = AsyncEngine(worker, name="resizing", max_gpu_resize_pixels=most)
        (output,) = await engine.run_all([image], Task.LOGITS)
        await engine.close()
        return output.values

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("image", "most", "seen"),
    [
        (SMALL, MOST, ((40, 60, 3), False)),
        (LARGE, MOST, ((SIDE, SIDE, 3), True)),
        (SMALL, 0, ((SIDE, SIDE, 3), True)),
    ],
)
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_an_image_is_left_to_the_model_up_to_a_size(
    image: Image.Image, most: int, seen: tuple[tuple[int, ...], bool], kind: str
) -> None:
    runner = ResizingRunner()
    worker = runner.worker(4)
    data = pictures.encode(image, kind)
    values = answer(worker, data, most)
    assert runner.seen == [seen]
    assert np.array_equal(values, RECIPE(decode(data)))


def test_an_image_that_is_too_long_for_the_model_is_not_left_to_it() -> None:
    runner = ResizingRunner()
    answer(runner.worker(4), pictures.encode(Image.new("RGB", (MAX_DEVICE_RESIZE_SIDE + 1, 40))), 10**7)
    assert runner.seen == [((SIDE, SIDE, 3), True)]


def test_pixels_that_a_client_prepared_stay_as_they_are() -> None:
    runner = ResizingRunner()
    worker = runner.worker(4)
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    assert np.array_equal(answer(worker, pixels, MOST), pixels)
    assert runner.seen == [((SIDE, SIDE, 3), True)]


def test_a_photograph_that_lies_on_its_side_is_handed_over_upright() -> None:
    runner = ResizingRunner()
    assert np.array_equal(answer(runner.worker(4), TURNED, 64 * 48), RECIPE(decode(TURNED)))
    assert runner.seen == [((*decode(TURNED).size[::-1], 3), False)]


def test_an_image_whose_resize_would_be_huge_is_refused_before_it_is_handed_over() -> None:
    runner = ResizingRunner()
    with pytest.raises(RequestTooLarge, match="extreme aspect ratio"):
        answer(runner.worker(4), pictures.encode(Image.new("RGB", (1_000_000, 1))), 2_000_000)
    assert not runner.seen


def test_nothing_is_left_to_the_model_where_its_view_is_to_be_drawn() -> None:
    async def ask() -> None:
        decoders = DecodePool(RECIPE, "resizing", 1, MOST, left=MOST)
        frames = [(await decoders.frame(SMALL_PNG, ready=ready)).frame for ready in (False, True)]
        decoders.close()
        assert [(frame.pixels.shape, frame.preprocessed) for frame in frames] == [
            ((40, 60, 3), False),
            ((SIDE, SIDE, 3), True),
        ]

    asyncio.run(ask())


def test_images_of_several_sizes_cross_a_socket_into_one_batch() -> None:
    """Each in its slot as it is; one that a client prepared is among them."""
    runner = ResizingRunner()
    worker = runner.worker(8)
    slot_bytes = runner.info.slot_bytes(MOST)
    assert slot_bytes == max(3 * MOST, 4 * SIDE * SIDE * 3)
    images = [pictures.gradient(width, height) for width, height in ((60, 40), (33, 57), (9, 8), (8, 8))]
    frames = [InputImage(np.asarray(image), preprocessed=False) for image in images] + [InputImage(RECIPE(images[0]))]

    async def ask() -> list[Inference]:
        memory = create_memory_file(8 * slot_bytes)
        rings = [SlotMemory(descriptor, 8, slot_bytes) for descriptor in (os.dup(memory), memory)]
        near, far = socket.socketpair()
        loop = asyncio.get_running_loop()
        link, _ = await loop.connect_accepted_socket(partial(EngineEndpoint, rings[0], {0: worker}), far)
        _, connection = await loop.connect_accepted_socket(partial(EngineConnection, rings[1]), near)
        model = RemoteModel("resizing", runner.info, 8)
        model.attach(0, connection, 0)
        for _ in range(9):  # none of them keeps its slot
            with pytest.raises(ValueError, match="a slot has"):
                model.submit(InputImage(np.zeros((MOST, 2, 3), np.uint8), preprocessed=False))
        runner.gate.clear()
        first = asyncio.wrap_future(model.submit(frames[0]))
        await asyncio.to_thread(runner.begun.acquire)
        others = [asyncio.wrap_future(model.submit(frame)) for frame in frames[1:]]
        while worker.waiting < len(others):
            await asyncio.sleep(0.001)
        runner.gate.set()
        answers = await asyncio.gather(first, *others)
        connection.drain()
        while not link.is_closing():
            await asyncio.sleep(0.001)
        return answers

    answers = asyncio.run(ask())
    worker.close()
    assert [one.batch_size for one in answers] == [1, 4, 4, 4, 4]
    for one, image in zip(answers, [*images, images[0]], strict=True):
        assert np.array_equal(one.values, RECIPE(image))
