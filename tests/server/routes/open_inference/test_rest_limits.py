"""Limits of REST inference: a full queue, and the budget of bytes that all request bodies share."""

import gzip
import json
from concurrent.futures import ThreadPoolExecutor

import httpx

from tessella.server.settings import Settings

from ....support.gated_runner import SIDE, GatedRunner
from ....support.live import Gated, gated

PIXELS = {"name": "pixels", "datatype": "UINT8", "shape": [1, SIDE, SIDE, 3], "data": [7] * SIDE * SIDE * 3}
BODY = json.dumps({"inputs": [PIXELS]}).encode()
LIMIT = 200_000
GZIP = {"content-encoding": "gzip"}


def post(live: Gated, body: bytes, **headers: str) -> httpx.Response:
    return httpx.post(f"{live.url}/v2/models/gated/infer", content=body, headers=headers)


def test_a_full_queue_is_rejected_with_retry_after() -> None:
    runner = GatedRunner()
    settings = Settings(model=("gated",), max_queue=1)
    with gated(runner, settings) as full, ThreadPoolExecutor() as pool:
        runner.gate.clear()
        first = pool.submit(post, full, BODY)
        assert runner.begun.acquire(timeout=30)
        refused = post(full, BODY)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert "the queue holds 1 of at most 1 images" in refused.json()["error"]
        runner.gate.set()
        assert first.result().status_code == 200
        failed = httpx.get(f"{full.url}/v2/models/stats").json()["model_stats"][0]["inference_stats"]["fail"]
        assert failed["count"] == 1


def test_decompressed_bytes_count_against_the_body_budget() -> None:
    runner = GatedRunner()
    settings = Settings(model=("gated",), max_body_bytes=LIMIT, max_queue_bytes=LIMIT)
    packed = gzip.compress(BODY + b" " * (LIMIT - 50_000), mtime=0)
    with gated(runner, settings) as live, ThreadPoolExecutor() as pool:
        runner.gate.clear()
        first = pool.submit(post, live, packed, **GZIP)
        assert runner.begun.acquire(timeout=30)
        refused = post(live, packed, **GZIP)
        assert (refused.status_code, "would exceed the limit" in refused.json()["error"]) == (429, True)
        runner.gate.set()
        assert first.result().status_code == 200
        assert post(live, packed, **GZIP).status_code == 200
