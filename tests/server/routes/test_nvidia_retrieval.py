"""NVIDIA retrieval route `/v1/infer`: classes of every image, and invalid requests."""

import base64

import httpx
import pytest

from ...support import pictures

URI = "data:image/png;base64," + base64.b64encode(pictures.encode(pictures.gradient())).decode()


def test_every_image_is_classified(exact: str) -> None:
    body = {"input": [{"type": "image_url", "url": URI}] * 3, "top_k": 2, "model": "digits-tnt"}
    answer = httpx.post(f"{exact}/v1/infer", json=body).json()
    assert (answer["model"], answer["usage"]["images"]) == ("digits-tnt", 3)
    assert [item["index"] for item in answer["data"]] == [0, 1, 2]
    single = httpx.post(f"{exact}/classify?model=digits-tnt&top_k=2", json={"inputs": URI}).json()
    for item in answer["data"]:
        assert [p["label"] for p in item["predictions"]] == [p["label"] for p in single["results"][0]["predictions"]]


@pytest.mark.parametrize("body", [{"input": []}, {"input": [{"type": "text", "text": "a cat"}]}, {"input": URI}])
def test_invalid_requests(exact: str, body: dict[str, object]) -> None:
    answer = httpx.post(f"{exact}/v1/infer", json=body)
    assert answer.status_code == 400
    assert "input" in answer.json()["error"] or "no images" in answer.json()["error"]
