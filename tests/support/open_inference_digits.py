"""Digit images, encoded and preprocessed, and a server with REST and gRPC to classify them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tessella.models.preprocessing.preprocess import Preprocessing

from .live import Process
from .pictures import encode

MODELS = ("--model", "digits-vit", "--model", "digits-tnt")


def seven(size: int = 64) -> Image.Image:
    """Image of a 7, white on black."""
    image = Image.new("RGB", (size, size))
    stroke = ImageDraw.Draw(image)
    stroke.line(
        [(size // 4, size // 4), (3 * size // 4, size // 4), (2 * size // 5, 4 * size // 5)], "white", size // 10
    )
    return image


PNG = encode(seven())
JPEG = encode(seven(200), "JPEG", quality=95)


@dataclass(frozen=True)
class Server:
    """`tessella serve` with REST and gRPC. `host`, `grpc`: address and port without a scheme."""

    url: str
    grpc: str

    @property
    def host(self) -> str:
        return self.url.removeprefix("http://")

    def scores(self, image: bytes, model: str = "digits-vit") -> NDArray[np.float64]:
        """(10,) class probabilities from `/classify`."""
        answer = httpx.post(f"{self.url}/classify", params={"model": model, "top_k": 10}, content=image).json()
        predictions = answer["results"][0]["predictions"]
        return np.array([p["score"] for p in sorted(predictions, key=lambda p: p["index"])])

    def pixels(self, model: str = "digits-vit") -> NDArray[np.uint8]:
        """(1, H, W, 3) uint8: the preprocessed image."""
        return self.preprocessing(model)(seven())[None]

    def preprocessing(self, model: str = "digits-vit") -> Preprocessing:
        metadata: dict[str, Any] = httpx.get(f"{self.url}/models/{model}").json()["preprocessing"]
        return Preprocessing(**metadata | {"mean": tuple(metadata["mean"]), "std": tuple(metadata["std"])})

    def normalised(self, model: str = "digits-vit") -> NDArray[np.float32]:
        """(1, 3, H, W): the image normalised as by timm or Hugging Face."""
        preprocessing = self.preprocessing(model)
        values = (self.pixels(model) / 255 - np.array(preprocessing.mean)) / np.array(preprocessing.std)
        return values.transpose(0, 3, 1, 2).astype(np.float32)


@contextmanager
def serving(*options: str) -> Iterator[Server]:
    """Context manager: a ready server with REST and gRPC on free ports."""
    process = Process("--grpc-port", "0", *options)
    try:
        url = process.ready().url
        match = re.search(r"gRPC on (\S+)", "".join(process.log))
        assert match
        yield Server(url, match[1])
    finally:
        assert process.stop() == 0, "".join(process.log)
