"""Explanations in `POST /classify`, in one process and with front ends."""

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from PIL import Image

from tessella.models.explain.explain import explain
from tessella.models.preprocessing.decode import decode
from tessella.models.registry import load_model, load_network
from tessella.models.zoo.training.dataset import load_split, png

from ...support.exports import write_foreign
from ...support.live import served

DIGITS = [png(image) for image in load_split().test.images[:3]]


@pytest.fixture(scope="module", params=[("--frontends", "0"), ("--frontends", "1")], ids=" ".join)
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of a service in one process, and of one with a front end."""
    with served("--dtype", "float32", *request.param) as several:
        yield several


def classify(url: str, image: bytes, **parameters: Any) -> httpx.Response:
    return httpx.post(f"{url}/classify", params=parameters, content=image, timeout=60)


def explained(url: str, **parameters: Any) -> dict[str, Any]:
    response = classify(url, DIGITS[0], **parameters)
    assert response.status_code == 200, response.text
    explanation: dict[str, Any] = response.json()["results"][0]["explain"]
    return explanation


@pytest.mark.parametrize("model", ["digits-vit", "digits-tnt"])
@pytest.mark.parametrize("method", ["attention", "rollout"])
def test_attention_is_that_of_the_published_network(url: str, model: str, method: str) -> None:
    explanation = explained(url, model=model, explain=method)
    assert set(explanation) == {"method", "layers", "grid", "values", "overlay_png"}
    grid = [6, 6] if model == "digits-vit" else [3, 3]
    assert (explanation["method"], explanation["layers"], explanation["grid"]) == (method, 4, grid)
    pixels = load_model(model, dtype="float32").preprocess(decode(DIGITS[0]))
    own = explain(load_network(model), torch.from_numpy(pixels).permute(2, 0, 1) / 127.5 - 1)
    expected = own.attention.mean(dim=1) if method == "attention" else own.rollout
    np.testing.assert_allclose(explanation["values"], expected, atol=1e-5)
    with Image.open(io.BytesIO(base64.b64decode(explanation["overlay_png"]))) as picture:
        assert (picture.format, picture.size) == ("PNG", (240, 240))


def test_predictions_do_not_change(url: str) -> None:
    with_it, without = (classify(url, DIGITS[0], **more).json() for more in ({"explain": "rollout"}, {}))
    assert set(without["results"][0]) == {"predictions"}
    best, other = (answer["results"][0]["predictions"][0] for answer in (with_it, without))
    assert (best["label"], round(best["score"], 4)) == (other["label"], round(other["score"], 4))
    assert set(with_it) == set(without)


def test_each_image_has_its_own_explanation(url: str) -> None:
    images = [base64.b64encode(image).decode() for image in (*DIGITS, b"no image")]
    body = {"inputs": images, "parameters": {"explain": "attention", "top_k": 1}}
    results = httpx.post(f"{url}/classify", json=body, timeout=60).json()["results"]
    pictures = {result["explain"]["overlay_png"] for result in results[:3]}
    assert len(pictures) == 3
    assert set(results[3]) == {"error", "error_type"}


def test_an_unknown_method_is_rejected(url: str) -> None:
    response = classify(url, DIGITS[0], explain="dream")
    assert response.status_code == 400
    assert "explain" in response.json()["error"]
    assert "'attention' or 'rollout'" in response.json()["error"]


def test_onnx_models_cannot_explain(tmp_path: Path) -> None:
    file = write_foreign(tmp_path / "foreign.onnx")
    preprocessing = {"resize": 8, "mean": [0.5] * 3, "std": [0.5] * 3}
    file.with_suffix(".json").write_text(json.dumps({"labels": list("abcd"), "preprocessing": preprocessing}))
    with served("--model", str(file)) as url:
        response = classify(url, DIGITS[0], explain="rollout")
        assert (response.status_code, response.json()["error_type"]) == (400, "not_supported")
        assert "does not support rollout" in response.json()["error"]
        assert classify(url, DIGITS[0]).status_code == 200
