"""LitServe peer with timm: dynamic batching; the images of a batch are decoded in threads when it is formed.

Run as `python -m tessella.benchmarks.service.peers.litserve_timm --folder F --port P --threads N`.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

import litserve
import torch
from fastapi import Body
from torch import Tensor

from ... import timm_import  # noqa: F401
from .timm_model import Options, TimmModel, response

BATCH_TIMEOUT_SECONDS = 0.005
JPEG = Annotated[bytes, Body(media_type="image/jpeg")]


class TimmAPI(litserve.LitAPI):  # type: ignore[misc]
    """LitServe API: `decode_request` passes the file through, as it runs sequentially; `batch` decodes in threads."""

    def __init__(self, options: Options) -> None:
        super().__init__(
            max_batch_size=options.max_batch_size, batch_timeout=BATCH_TIMEOUT_SECONDS, api_path="/classify"
        )
        self._options = options

    def setup(self, device: str) -> None:
        self._model = TimmModel(self._options)
        self._decoders = ThreadPoolExecutor(self._options.threads)

    def decode_request(self, request: JPEG) -> bytes:
        return request

    def batch(self, inputs: list[bytes]) -> tuple[Tensor, float]:
        started = time.perf_counter()
        images = torch.stack(list(self._decoders.map(self._model.decode, inputs)))
        return images, time.perf_counter() - started

    def predict(self, batch: tuple[Tensor, float]) -> list[dict[str, Any]]:
        images, decode_seconds = batch
        started = time.perf_counter()
        predictions = self._model.predict(images)
        stages = {"decode": decode_seconds * 1e3, "inference": (time.perf_counter() - started) * 1e3}
        return [response(classes, **stages, total=sum(stages.values())) for classes in predictions]

    def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return output

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        return output


if __name__ == "__main__":
    options = Options.parse()
    server = litserve.LitServer(
        TimmAPI(options), accelerator="cpu" if options.device == "cpu" else "cuda", devices=1, timeout=False
    )
    server.run(host="127.0.0.1", port=options.port, generate_client_file=False, log_level="warning")
