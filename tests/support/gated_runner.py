"""Gated runner: its model call waits for a gate, so that tests of concurrency need no timing."""

import threading

import numpy as np
from numpy.typing import NDArray

from tessella.models.preprocessing.images import ImageBatch, stack_images
from tessella.models.preprocessing.preprocess import Preprocessing
from tessella.server.engine.runner import RunnerInfo
from tessella.server.engine.tasks import Task
from tessella.server.engine.worker import Worker
from tessella.server.observability.metrics import Metrics

SIDE = 8


class GatedRunner:
    """Classifier by the red value of an image's first pixel. `gate` blocks calls; `batches`: their sizes."""

    info = RunnerInfo(
        family="gated",
        parameters=0,
        config={},
        labels=tuple(f"red {value}" for value in range(256)),
        preprocessing=Preprocessing(size=SIDE, resize=SIDE, interpolation="nearest"),
        backend="none",
        device="none",
        dtype="none",
    )

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Semaphore(0)
        self.batches: list[int] = []
        self.fails = False

    def worker(self, max_batch_size: int, metrics: Metrics | None = None) -> Worker:
        """Started worker of this runner, with the warm-up's batches removed."""
        worker = Worker(self, name="gated", max_batch_size=max_batch_size, metrics=metrics)
        worker.start()
        self.batches.clear()
        while self.begun.acquire(blocking=False):
            pass
        return worker

    def run(self, images: ImageBatch, task: Task = Task.LOGITS) -> NDArray[np.float32]:
        pixels = stack_images(images)
        self.batches.append(len(pixels))
        self.begun.release()
        assert self.gate.wait(30)
        if self.fails:
            raise RuntimeError("out of memory")
        return np.eye(256, dtype=np.float32)[pixels[:, 0, 0, 0]] * 20
