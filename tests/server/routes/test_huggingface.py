"""Hugging Face routes through the official `InferenceClient`: bytes, paths and parameters."""

import asyncio
import base64
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from huggingface_hub import AsyncInferenceClient, InferenceClient
from huggingface_hub.errors import HfHubHTTPError

from tessella.models.preprocessing.decode import decode
from tessella.models.registry import load_model

from ...support import pictures
from ...support.live import served

PNG = pictures.encode(pictures.gradient())
TEXT = base64.b64encode(PNG).decode()


def scores(name: str, function: str = "softmax") -> dict[str, float]:
    model = load_model(name, dtype="float32")
    logits = model.logits(model.preprocess(decode(PNG))[None]).double()[0]
    applied = {"softmax": logits.softmax(0), "sigmoid": logits.sigmoid(), "none": logits}[function]
    return dict(zip(model.labels, applied.tolist(), strict=True))


def check(answer: Any, name: str, function: str = "softmax", count: int = 5) -> None:
    expected = scores(name, function)
    best = sorted(expected, key=lambda label: -expected[label])[:count]
    assert [item.label for item in answer] == best
    np.testing.assert_allclose([item.score for item in answer], [expected[label] for label in best], atol=1e-4)


@pytest.mark.parametrize("path", ["", "/models/digits-vit", "/models/digits-tnt"])
def test_the_client_classifies_bytes_and_files(exact: str, path: str, tmp_path: Path) -> None:
    (tmp_path / "digit.png").write_bytes(PNG)
    client = InferenceClient(model=exact + path, token="none")
    for image in (PNG, tmp_path / "digit.png", str(tmp_path / "digit.png")):
        check(client.image_classification(image), path.rpartition("/")[2] or "digits-vit")


@pytest.mark.parametrize("function", ["softmax", "sigmoid", "none"])
def test_parameters(exact: str, function: Any) -> None:
    client = InferenceClient(model=exact, token="none")
    answer = client.image_classification(PNG, top_k=3, function_to_apply=function)
    check(answer, "digits-vit", function, 3)


@pytest.mark.filterwarnings("ignore:Use 'content:DeprecationWarning")  # by the client itself
def test_the_async_client(exact: str) -> None:
    async def ask() -> list[Any]:
        async with AsyncInferenceClient(model=f"{exact}/models/digits-tnt", token="none") as client:
            plain = [client.image_classification(PNG) for _ in range(8)]
            return await asyncio.gather(*plain, client.image_classification(PNG, top_k=2))

    *plain, two = asyncio.run(ask())
    for answer in plain:
        check(answer, "digits-tnt")
    check(two, "digits-tnt", count=2)


def test_a_list_of_images_gets_a_list_of_results(exact: str) -> None:
    answer = httpx.post(exact, json={"inputs": [TEXT, f"data:image/png;base64,{TEXT}"]}).json()
    assert len(answer) == 2
    single = [httpx.post(exact, json={"inputs": TEXT, **more}).json() for more in ({}, {"parameters": None})]
    in_a_list = httpx.post(exact, json={"inputs": [TEXT]}).json()
    for scores in [*answer, *single, *in_a_list]:
        check([SimpleNamespace(**item) for item in scores], "digits-vit")


def test_names_with_slashes_do_not_hide_admin_routes() -> None:
    with served("--model", "digits-tnt", "--dtype", "float32", "--api-key", "secret") as url:
        client = InferenceClient(model=f"{url}/models/owner/digits", token="secret")
        key = {"authorization": "Bearer secret"}
        source = {"source": "digits-vit"}
        loaded = httpx.post(f"{url}/models/owner/digits/load", headers=key, json=source, timeout=60)
        assert (loaded.json()["name"], loaded.json()["state"]) == ("owner/digits", "ready")
        check(client.image_classification(PNG), "digits-vit")
        assert httpx.post(f"{url}/models/owner/digits/unload", headers=key).json()[0]["state"] == "unloaded"
        assert httpx.post(url, content=PNG).status_code == 401
        unknown = httpx.post(f"{url}/v1/embeddings", json={"input": TEXT})  # in OpenAI's shape
        assert (unknown.status_code, unknown.json()["error"]["code"]) == (401, "unauthorized")
        with pytest.raises(HfHubHTTPError, match="404"):
            client.image_classification(PNG)


BAD: dict[str, tuple[bytes, int, str]] = {
    "an unknown parameter": (b'{"inputs": "", "parameters": {"candidate_labels": []}}', 400, "candidate_labels"),
    "an unknown function": (b'{"inputs": "", "parameters": {"function_to_apply": "log"}}', 400, "function_to_apply"),
    "no inputs": (b"{}", 400, "inputs"),
    "an empty list": (b'{"inputs": []}', 400, "contains no images"),
    "no image": (b"no image", 422, "not an image"),
    "one of two is no image": (json.dumps({"inputs": [TEXT, "AAAA"]}).encode(), 422, "image 1: not an image"),
}


@pytest.mark.parametrize("name", BAD)
def test_invalid_requests(exact: str, name: str) -> None:
    body, status, message = BAD[name]
    answer = httpx.post(exact, content=body)
    assert (answer.status_code, set(answer.json())) == (status, {"error", "error_type"})
    assert message in answer.json()["error"]


def test_an_unknown_model_is_not_found(exact: str) -> None:
    with pytest.raises(HfHubHTTPError, match="404"):
        InferenceClient(model=f"{exact}/models/resnet-50", token="none").image_classification(PNG)
