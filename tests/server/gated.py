"""A runner whose model call waits for a gate: what happens while the model runs can be tested without timing."""

import threading

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tessella.server.runners import RunnerInfo

SIDE = 8


class GatedRunner:
    """Classifies an image by the red value of its first pixel. `gate` holds every call; `batches` are those begun."""

    info = RunnerInfo(
        family="gated",
        parameters=0,
        config={},
        labels=tuple(f"red {value}" for value in range(256)),
        preprocessing={"size": SIDE},
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

    def preprocess(self, image: Image.Image) -> NDArray[np.uint8]:
        return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.NEAREST))

    def run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.batches.append(len(pixels))
        self.begun.release()
        assert self.gate.wait(30)
        if self.fails:
            raise RuntimeError("out of memory, say")
        return np.eye(256, dtype=np.float32)[pixels[:, 0, 0, 0]] * 20
