"""The service on a real Ray of this machine: two replicas, the same answers, and a death that costs what was in it."""

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
class OnRay:
    """`python -m tessella.server.ray_app`, ready. `log`: what all its processes say."""

    process: "subprocess.Popen[bytes]"
    url: str
    log: Path

    def replicas(self, known: set[int], within: float) -> set[int]:
        """Process ids of two replicas, none of them among `known`'s dead, by what they count."""
        end = time.monotonic() + within
        found: set[int] = set()
        while len(found) < 2:
            time.sleep(0.1)  # a replica that starts needs the cores
            assert time.monotonic() < end, f"{found}: {self.log.read_text()[-3000:]}"
            text = httpx.get(f"{self.url}/metrics", timeout=60).text
            found |= {int(number) for number in re.findall(r'resident_memory_bytes\{process="(\d+)"', text)} - known
        return found


@pytest.fixture(scope="module")
def on_ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnRay]:
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
            env={**os.environ, "HOME": str(folder)},  # Ray writes a token there
            start_new_session=True,
        )
    running = OnRay(process, f"http://127.0.0.1:{port}", log)
    try:
        _await_ready(running, 240)
        yield running
        process.terminate()
        assert process.wait(90) == 0, log.read_text()[-3000:]
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # what has not ended with it
        process.wait()


def _await_ready(running: OnRay, within: float) -> None:
    end = time.monotonic() + within
    while time.monotonic() < end:
        assert running.process.poll() is None, running.log.read_text()[-3000:]
        with suppress(httpx.TransportError):
            if httpx.get(f"{running.url}/readyz", timeout=10).status_code == 200:
                return
        time.sleep(0.2)
    raise AssertionError(running.log.read_text()[-3000:])


def test_ray_answers_as_the_server_does(on_ray: OnRay, service: str) -> None:
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
        assert_alike(rays.json(), ours.json())
        assert rays.headers["x-request-id"]
    paths = [httpx.get(f"{url}/openapi.json", timeout=60).json()["paths"] for url in (on_ray.url, service)]
    assert paths[0] == paths[1]


def assert_alike(rays: dict[str, Any], ours: dict[str, Any]) -> None:
    """The same class and score, as far as float32 and bfloat16 agree: each may choose its own. Or the same error."""
    if "results" not in ours:
        assert rays["error_type"] == ours["error_type"]
        return
    (found,), (expected,) = (answer["results"] for answer in (rays, ours))
    assert len(found["predictions"]) == len(expected["predictions"])
    best, right = found["predictions"][0], expected["predictions"][0]
    assert best == right | {"score": pytest.approx(right["score"], abs=0.02)}


def test_a_killed_replica_takes_only_its_own_requests_with_it_and_comes_back(on_ray: OnRay) -> None:
    victim, other = sorted(on_ray.replicas(set(), 180))
    statuses = asyncio.run(_ask_and_kill(on_ray, victim))
    assert set(statuses) <= {200, 500, 502, 503}, statuses
    assert statuses[200] > 5 * CLIENTS
    assert sum(statuses.values()) - statuses[200] <= CLIENTS, statuses
    assert other in on_ray.replicas({victim}, 180), "a second one is there again"


async def _ask_and_kill(on_ray: OnRay, victim: int) -> "Counter[int]":
    """What clients got that ask one request after the other, before, while and after a replica dies.

    Raises:
        httpx.TransportError: one got no answer.
    """
    statuses: Counter[int] = Counter()
    killed = asyncio.Event()

    async def ask(client: httpx.AsyncClient) -> None:
        left = 20
        while left:
            response = await client.post("/classify", content=PNG)
            statuses[response.status_code] += 1
            left -= killed.is_set()

    async with httpx.AsyncClient(base_url=on_ray.url, timeout=120) as client:
        asking = [asyncio.create_task(ask(client)) for _ in range(CLIENTS)]
        while statuses[200] < 5 * CLIENTS and not any(task.done() for task in asking):
            await asyncio.sleep(0.02)
        os.kill(victim, signal.SIGKILL)
        killed.set()
        await asyncio.gather(*asking)
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


def test_the_configuration_is_one_that_ray_and_the_service_understand() -> None:
    """In a process of its own: importing Ray warns."""
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
    assert all(name in found for (*_, name), found in zip(errors, wrong, strict=True)), wrong


def test_a_wrong_argument_is_named_and_starts_nothing() -> None:
    command = [sys.executable, "-m", "tessella.server.ray_app", "modl=digits-vit", "port"]
    process = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert process.returncode == 1
    assert "modl" in process.stderr
    assert "port" in process.stderr
    assert "Traceback" not in process.stderr
