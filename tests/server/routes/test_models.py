"""Model routes: loading, unloading and aliases under load, in one process and with front ends."""

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from ...support import pictures
from ...support.live import Process

PNG = pictures.encode(pictures.gradient())


@pytest.fixture(scope="module", params=["0", "2"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    process = Process("--model", "cats=digits-vit", "--frontends", request.param).ready()
    try:
        yield process.url
    finally:
        assert process.stop() == 0


def change(url: str, verb: str, name: str, **body: Any) -> Any:
    answer = httpx.post(f"{url}/models/{name}/{verb}", json=body or None, timeout=120)
    assert answer.status_code == 200, answer.text
    return answer.json()


def families(url: str) -> dict[str, str]:
    """Family of each served model; all front ends must agree (each request is a new connection)."""
    responses = [httpx.get(f"{url}/models").json()["models"] for _ in range(6)]
    assert all(models == responses[0] for models in responses)
    return {model["name"]: model["family"] or model["state"] for model in responses[0]}


@contextmanager
def requests_meanwhile(url: str, model: str) -> Iterator[list[httpx.Response]]:
    """Context manager: four clients send requests during the block; yields the list of their responses."""
    answers: list[httpx.Response] = []
    done = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=url, timeout=60) as client:
            while not done.is_set():
                answers.append(client.post(f"/classify?model={model}", content=PNG))

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        yield answers
    finally:
        done.set()
        for client in clients:
            client.join(60)


def test_replacing_a_model_under_load_loses_no_request(url: str) -> None:
    with requests_meanwhile(url, "cats") as answers:
        for source, family in (("digits-tnt", "tnt"), ("digits-vit", "vit")):
            assert change(url, "load", "cats", source=source)["family"] == family
            assert families(url)["cats"] == family
    assert {answer.status_code for answer in answers} == {200}
    assert len({round(answer.json()["results"][0]["predictions"][0]["score"], 1) for answer in answers}) == 2


def test_loading_and_unloading_a_model(url: str) -> None:
    assert change(url, "load", "folder/dogs", source="digits-tnt")["state"] == "ready"
    assert families(url) == {"cats": "vit", "folder/dogs": "tnt"}
    assert httpx.post(f"{url}/classify?model=folder/dogs", content=PNG).status_code == 200
    assert [model["state"] for model in change(url, "unload", "folder/dogs")] == ["unloaded"]
    assert families(url) == {"cats": "vit", "folder/dogs": "unloaded"}
    gone = httpx.post(f"{url}/classify?model=folder/dogs", content=PNG)
    assert (gone.status_code, gone.json()["error_type"]) == (404, "model_not_found")
    assert httpx.get(f"{url}/readyz").status_code == 200
    assert change(url, "load", "folder/dogs")["family"] == "tnt"


def test_versions_are_served_side_by_side(url: str) -> None:
    assert change(url, "load", "cats", source="digits-tnt", version=2)["versions"] == [1, 2]
    responses = [httpx.get(f"{url}/models/{name}").json() for name in ("cats", "cats:1", "cats:2")]
    assert [(model["version"], model["family"]) for model in responses] == [(2, "tnt"), (1, "vit"), (2, "tnt")]
    assert change(url, "unload", "cats:2")[0]["versions"] == [1]
    assert httpx.get(f"{url}/models/cats").json()["version"] == 1


def test_changing_an_alias_under_load_loses_no_request(url: str) -> None:
    change(url, "load", "newer", source="digits-tnt")
    alias = f"{url}/models/aliases/best"
    assert httpx.put(alias, json={"model": "cats"}).json()["best"] == "cats"
    with requests_meanwhile(url, "best") as answers:
        for target in ("newer:1", "cats"):
            assert httpx.put(alias, json={"model": target}, timeout=60).json()["best"] == target
            meant = {httpx.get(f"{url}/models/best").json()["name"] for _ in range(6)}
            assert meant == {target.partition(":")[0]}
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["model"] for answer in answers} == {"cats", "newer"}
    assert httpx.delete(alias).json() == {}
    assert httpx.post(f"{url}/classify?model=best", content=PNG).status_code == 404
    change(url, "unload", "newer")


def test_the_default_model_is_an_alias(url: str) -> None:
    change(url, "load", "newer", source="digits-tnt")
    default = f"{url}/models/aliases/default"
    assert httpx.put(default, json={"model": "newer"}).status_code == 200
    assert {httpx.post(f"{url}/classify", content=PNG).json()["model"] for _ in range(4)} == {"newer"}
    assert httpx.delete(default).status_code == 200
    assert {httpx.post(f"{url}/classify", content=PNG).json()["model"] for _ in range(4)} == {"cats"}
    change(url, "unload", "newer")


def test_invalid_aliases_are_rejected(url: str) -> None:
    def put(alias: str, model: str, **headers: str) -> tuple[int, str]:
        answer = httpx.put(f"{url}/models/aliases/{alias}", json={"model": model}, headers=headers)
        return answer.status_code, answer.json()["error_type"]

    assert put("cats", "cats") == (400, "bad_request")
    assert put("best:2", "cats") == (400, "bad_request")
    assert put("best", "nobody") == (404, "model_not_found")
    assert put("best", "cats:7") == (404, "model_not_found")
    assert put("best", "cats", origin="https://example.org") == (403, "forbidden")
    assert httpx.delete(f"{url}/models/aliases/best").status_code == 404
    assert httpx.get(f"{url}/models").json()["aliases"] == {}


def test_a_failed_load_leaves_the_model_unchanged(url: str) -> None:
    failed = httpx.post(f"{url}/models/cats/load", json={"source": "./nowhere.safetensors"}, timeout=60)
    assert (failed.status_code, failed.json()["error_type"]) == (422, "load_failed")
    assert "there is no file or folder './nowhere.safetensors'" in failed.json()["error"]
    assert families(url)["cats"] == "vit"
    assert httpx.post(f"{url}/classify?model=cats", content=PNG).status_code == 200


def test_invalid_load_requests_are_rejected(url: str) -> None:
    def post(path: str, **options: Any) -> tuple[int, str]:
        answer = httpx.post(f"{url}/models/{path}", timeout=60, **options)
        return answer.status_code, answer.json()["error_type"]

    assert post("dogs/unload") == (404, "model_not_found")
    assert post("cats:9/load") == (400, "bad_request")
    assert post("cats/load", json={"source": 3}) == (400, "bad_request")
    assert post("cats/load", json={"sauce": "a"}) == (400, "bad_request")
    assert post("cats/load", headers={"origin": "https://example.org"}) == (403, "forbidden")


def test_restarted_processes_serve_the_current_models() -> None:
    process = Process("--model", "cats=digits-vit", "--model", "birds=digits-vit", "--frontends", "1").ready()
    try:
        url = process.url
        change(url, "load", "dogs", source="digits-tnt")
        change(url, "load", "cats", source="digits-tnt")
        change(url, "unload", "birds")
        httpx.put(f"{url}/models/aliases/best", json={"model": "dogs"})
        again(url, lambda: {0, 1} == {int(n) for n in re.findall(r"model (\d) unloaded from", "".join(process.log))})
        expected = {"cats": "tnt", "birds": "unloaded", "dogs": "tnt"}
        assert families(url) == expected
        os.kill(process.children("engine")[-1], signal.SIGKILL)
        again(url, lambda: httpx.post(f"{url}/classify?model=dogs", content=PNG).status_code == 200)
        assert families(url) == expected
        os.kill(process.children("frontend")[-1], signal.SIGKILL)
        again(url, lambda: httpx.get(f"{url}/readyz").status_code == 200)
        assert families(url) == expected
        assert httpx.post(f"{url}/classify?model=best", content=PNG).json()["model"] == "dogs"
        assert change(url, "load", "birds")["family"] == "vit"
        assert httpx.post(f"{url}/classify?model=birds", content=PNG).status_code == 200
    finally:
        assert process.stop() == 0


@pytest.mark.parametrize("frontends", ["0", "1"])
def test_a_hanging_load_times_out(tmp_path: Path, frontends: str) -> None:
    endless = tmp_path / "endless.pth"
    os.mkfifo(endless)  # opening it blocks until there is a writer
    options = ("--frontends", frontends, "--backend", "torch", "--load-timeout", "2")
    process = Process("--model", "cats=digits-vit", *options).ready()
    try:
        url = process.url
        with ThreadPoolExecutor(1) as pool:
            load = pool.submit(httpx.post, f"{url}/models/cats/load", json={"source": str(endless)}, timeout=60)
            while not load.done():
                assert httpx.post(f"{url}/classify?model=cats", content=PNG, timeout=60).status_code == 200
            failed = load.result()
        assert (failed.status_code, failed.json()["error_type"]) == (422, "load_failed")
        assert "not finished after 2 s; load_timeout sets the limit" in failed.json()["error"]
        assert change(url, "load", "dogs", source="digits-tnt")["family"] == "tnt"
        assert families(url) == {"cats": "vit", "dogs": "tnt"}
        assert process.children("engine") == process.children("engine")[:1]
    finally:
        assert process.stop() == 0


def test_an_engine_crash_during_a_load_fails_only_the_load() -> None:
    process = Process("--model", "cats=digits-vit", "--frontends", "1").ready()
    try:
        url, failed = process.url, threading.Event()
        victim = process.children("engine")[-1]

        def load() -> None:
            os.kill(victim, signal.SIGSTOP)
            answer = httpx.post(f"{url}/models/cats/load", json={"source": "digits-tnt"}, timeout=60)
            assert (answer.status_code, answer.json()["error_type"]) == (422, "load_failed")
            assert "engine 0 exited" in answer.json()["error"]
            failed.set()

        client = threading.Thread(target=load)
        client.start()
        time.sleep(0.5)  # the load request is sent to the stopped engine
        os.kill(victim, signal.SIGKILL)
        client.join(60)
        assert failed.is_set()
        again(url, lambda: httpx.post(f"{url}/classify", content=PNG).status_code == 200)
        assert families(url) == {"cats": "vit"}
    finally:
        assert process.stop() == 0


def again(url: str, succeeds: Callable[[], bool]) -> None:
    for _ in range(600):
        try:
            if succeeds():
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"{url} did not come back")
