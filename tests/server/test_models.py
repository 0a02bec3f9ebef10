"""Models change while the service answers, in one process and over engine processes: real models, real sockets."""

import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from . import pictures
from .live import Process

PNG = pictures.encode(pictures.gradient())


@pytest.fixture(scope="module", params=["0"])
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
    """The family of each served name, as every front end tells it: each request is a connection of its own."""
    told = [httpx.get(f"{url}/models").json()["models"] for _ in range(6)]
    assert all(models == told[0] for models in told)
    return {model["name"]: model["family"] or model["state"] for model in told[0]}


def test_a_swap_under_load_loses_no_request(url: str) -> None:
    answers: list[httpx.Response] = []
    done = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=url, timeout=60) as client:
            while not done.is_set():
                answers.append(client.post("/classify?model=cats", content=PNG))

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        for source, family in (("digits-tnt", "tnt"), ("digits-vit", "vit")):
            assert change(url, "load", "cats", source=source)["family"] == family
            assert families(url)["cats"] == family
    finally:
        done.set()
        for client in clients:
            client.join(60)
    assert {answer.status_code for answer in answers} == {200}
    assert len({round(answer.json()["results"][0]["predictions"][0]["score"], 4) for answer in answers}) == 2


def test_a_model_comes_and_goes(url: str) -> None:
    assert change(url, "load", "folder/dogs", source="digits-tnt")["state"] == "ready"
    assert families(url) == {"cats": "vit", "folder/dogs": "tnt"}
    assert httpx.post(f"{url}/classify?model=folder/dogs", content=PNG).status_code == 200
    assert [model["state"] for model in change(url, "unload", "folder/dogs")] == ["unloaded"]
    assert families(url) == {"cats": "vit", "folder/dogs": "unloaded"}
    gone = httpx.post(f"{url}/classify?model=folder/dogs", content=PNG)
    assert (gone.status_code, gone.json()["error_type"]) == (404, "model_not_found")
    assert httpx.get(f"{url}/readyz").status_code == 200
    assert change(url, "load", "folder/dogs")["family"] == "tnt"


def test_versions_answer_beside_each_other(url: str) -> None:
    assert change(url, "load", "cats", source="digits-tnt", version=2)["versions"] == [1, 2]
    told = [httpx.get(f"{url}/models/{name}").json() for name in ("cats", "cats:1", "cats:2")]
    assert [(model["version"], model["family"]) for model in told] == [(2, "tnt"), (1, "vit"), (2, "tnt")]
    assert change(url, "unload", "cats:2")[0]["versions"] == [1]
    assert httpx.get(f"{url}/models/cats").json()["version"] == 1


def test_a_load_that_fails_says_why_and_the_old_one_serves_on(url: str) -> None:
    failed = httpx.post(f"{url}/models/cats/load", json={"source": "./nowhere.safetensors"}, timeout=60)
    assert (failed.status_code, failed.json()["error_type"]) == (422, "load_failed")
    assert "there is no file or folder './nowhere.safetensors'" in failed.json()["error"]
    assert families(url)["cats"] == "vit"
    assert httpx.post(f"{url}/classify?model=cats", content=PNG).status_code == 200


def test_what_cannot_be_meant_is_refused(url: str) -> None:
    def post(path: str, **options: Any) -> tuple[int, str]:
        answer = httpx.post(f"{url}/models/{path}", timeout=60, **options)
        return answer.status_code, answer.json()["error_type"]

    assert post("dogs/unload") == (404, "model_not_found")
    assert post("cats:9/load") == (400, "bad_request")
    assert post("cats/load", json={"source": 3}) == (400, "bad_request")
    assert post("cats/load", json={"sauce": "a"}) == (400, "bad_request")
    assert post("cats/load", headers={"origin": "https://example.org"}) == (403, "forbidden")
