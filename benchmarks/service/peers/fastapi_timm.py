"""FastAPI peer with timm: one image per call; decoding and the model in threads, which keeps the event loop free.

Run as `python -m tessella.benchmarks.service.peers.fastapi_timm --folder F --port P --threads N`.
"""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import uvicorn
from fastapi import FastAPI, Request

from ... import timm_import  # noqa: F401
from .timm_model import Options, TimmModel, response


def create_app(options: Options) -> FastAPI:
    app = FastAPI()
    model = TimmModel(options)
    decoders = ThreadPoolExecutor(options.threads)
    runner = ThreadPoolExecutor(1)  # torch uses all cores: concurrent calls would compete for them

    def decode(data: bytes) -> tuple[Any, float]:
        started = time.perf_counter()
        return model.decode(data), time.perf_counter() - started

    def predict(image: Any) -> tuple[list[dict[str, Any]], float]:
        started = time.perf_counter()
        return model.predict(image[None])[0], time.perf_counter() - started

    @app.post("/classify")
    async def classify(request: Request) -> dict[str, Any]:
        loop, started = asyncio.get_running_loop(), time.perf_counter()
        image, decode_seconds = await loop.run_in_executor(decoders, decode, await request.body())
        decoded = time.perf_counter()
        predictions, inference_seconds = await loop.run_in_executor(runner, predict, image)
        ended = time.perf_counter()
        return response(
            predictions,
            decode=decode_seconds * 1e3,
            queue=(ended - decoded - inference_seconds) * 1e3,
            inference=inference_seconds * 1e3,
            total=(ended - started) * 1e3,
        )

    @app.get("/readyz")
    async def readyz() -> dict[str, str]:
        return {"status": "ready"}

    return app


if __name__ == "__main__":
    options = Options.parse()
    uvicorn.run(create_app(options), host="127.0.0.1", port=options.port, log_level="warning", access_log=False)
