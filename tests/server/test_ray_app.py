"""Ray Serve deployment on a local Ray: two replicas, the server's responses, and the death of a replica."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tessella.server.serve import listen

from ..support import pictures

CLIENTS = 6
PNG = pictures.encode(pictures.gradient())
pytestmark = pytest.mark.slow


@dataclass
class RayService:
    """`python -m tessella.server.ray_app`, ready. `log`: file with the output of all its processes."""

    process: "subprocess.Popen[bytes]"
    url: str
    log: Path

    def replicas(self, dead: set[int], timeout: float) -> set[int]:
        """Process ids of two replicas that are not in `dead`, from their metrics."""
        end = time.monotonic() + timeout
        ids: set[int] = set()
        while len(ids) < 2:
            time.sleep(0.1)  # leave the cores to a replica that starts
            assert time.monotonic() < end, f"{ids}: {self.log.read_text()[-3000:]}"
            text = httpx.get(f"{self.url}/metrics", timeout=60).text
            ids |= {int(number) for number in re.findall(r'resident_memory_bytes\{process="(\d+)"', text)} - dead
        return ids


@pytest.fixture(scope="module")
def on_ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayService]:
    folder = tmp_path_factory.mktemp("ray")
    with listen("127.0.0.1", 0) as probe:
        port = probe.getsockname()[1]
    settings = {"port": port, "model": "digits-vit", "device": "cpu", "min_replicas": 2, "max_queue": 40}
    log = folder / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "tessella.server.ray_app", *(f"{name}={value}" for name, value in settings.items())],
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, "HOME": str(folder)},  # Ray writes a token to it
            start_new_session=True,
        )
    running = RayService(process, f"http://127.0.0.1:{port}", log)
    try:
        _await_ready(running, 240)
        yield running
        process.terminate()
        assert process.wait(90) == 0, log.read_text()[-3000:]
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # processes that have not ended with it
        process.wait()


def _await_ready(running: RayService, timeout: float) -> None:
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        assert running.process.poll() is None, running.log.read_text()[-3000:]
        with suppress(httpx.TransportError):
            if httpx.get(f"{running.url}/readyz", timeout=10).status_code == 200:
                return
        time.sleep(0.2)
    raise AssertionError(running.log.read_text()[-3000:])


def test_responses_equal_the_servers(on_ray: RayService, service: str) -> None:
    assert len(on_ray.replicas(set(), 180)) == 2
    for path, content in [
        ("/classify?top_k=3", PNG),
        ("/classify", b"no image"),
        ("/classify?model=nobody", PNG),
        ("/classify?top_k=0", PNG),
    ]:
        ours = httpx.post(f"{service}{path}", content=content, timeout=60)
        rays = httpx.post(f"{on_ray.url}{path}", content=content, timeout=60)
        assert rays.status_code == ours.status_code, (path, rays.text, ours.text)
        assert rays.json().keys() == ours.json().keys()
        assert_equal_results(rays.json(), ours.json())
        assert rays.headers["x-request-id"]
    paths = [httpx.get(f"{url}/openapi.json", timeout=60).json()["paths"] for url in (on_ray.url, service)]
    assert paths[0] == paths[1]


def assert_equal_results(rays: dict[str, Any], ours: dict[str, Any]) -> None:
    """Assert the same class and score, with a tolerance for different dtypes, or the same error type."""
    if "results" not in ours:
        assert rays["error_type"] == ours["error_type"]
        return
    (result,), (expected,) = (response["results"] for response in (rays, ours))
    assert len(result["predictions"]) == len(expected["predictions"])
    best, right = result["predictions"][0], expected["predictions"][0]
    assert best == right | {"score": pytest.approx(right["score"], abs=0.02)}


def test_killed_replica_loses_only_its_own_requests_and_is_replaced(on_ray: RayService) -> None:
    victim, other = sorted(on_ray.replicas(set(), 180))
    statuses = asyncio.run(_send_and_kill(on_ray, victim))
    assert set(statuses) <= {200, 500, 502, 503}, statuses
    assert statuses[200] > 5 * CLIENTS
    assert sum(statuses.values()) - statuses[200] <= CLIENTS, statuses
    assert other in on_ray.replicas({victim}, 180), "the killed replica is replaced"


async def _send_and_kill(on_ray: RayService, victim: int) -> "Counter[int]":
    """Status codes of clients that send requests before, during and after the death of a replica.

    Raises:
        httpx.TransportError: a request has no response.
    """
    statuses: Counter[int] = Counter()
    killed = asyncio.Event()

    async def send(client: httpx.AsyncClient) -> None:
        remaining = 20
        while remaining:
            response = await client.post("/classify", content=PNG)
            statuses[response.status_code] += 1
            remaining -= killed.is_set()

    async with httpx.AsyncClient(base_url=on_ray.url, timeout=120) as client:
        clients = [asyncio.create_task(send(client)) for _ in range(CLIENTS)]
        while statuses[200] < 5 * CLIENTS and not any(task.done() for task in clients):
            await asyncio.sleep(0.02)
        os.kill(victim, signal.SIGKILL)
        killed.set()
        await asyncio.gather(*clients)
    return statuses


CHECK = """
import importlib, json, sys, yaml
from ray.serve.schema import ServeDeploySchema
from tessella.server.ray_app import RaySettings

def error(text):
    try:
        (application,) = ServeDeploySchema.model_validate(yaml.safe_load(text)).applications
        module, name = application.import_path.split(":")
        getattr(importlib.import_module(module), name)(RaySettings.model_validate(application.args))
    except (ValueError, AttributeError) as error:
        return str(error)

print(json.dumps([error(text) for text in json.load(sys.stdin)]))
"""


def test_serve_config_is_valid_for_ray_and_the_service() -> None:
    """Validated in a separate process, since importing Ray emits warnings."""
    text = (Path(__file__).parents[2] / "docker" / "ray" / "serve.yaml").read_text()
    errors = [
        ("max_replicas", "max_replica", "max_replica"),
        ("EveryNode", "EveryPod", "proxy_location"),
        (":application", ":app", "'app'"),
    ]
    documents = [text, *(text.replace(right, wrong) for right, wrong, _ in errors)]
    process = subprocess.run(
        [sys.executable, "-c", CHECK], input=json.dumps(documents), capture_output=True, text=True, timeout=120
    )
    assert process.returncode == 0, process.stderr
    right, *wrong = json.loads(process.stdout)
    assert right is None
    assert all(name in message for (*_, name), message in zip(errors, wrong, strict=True)), wrong


def test_invalid_argument_is_reported() -> None:
    command = [sys.executable, "-m", "tessella.server.ray_app", "modl=digits-vit", "port"]
    process = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert process.returncode == 1
    assert "modl" in process.stderr
    assert "port" in process.stderr
    assert "Traceback" not in process.stderr
