"""Embeddings through the official `openai` client, in one process and with a front end."""

import asyncio
import base64
from collections.abc import Iterator
from typing import Any, Literal

import httpx
import numpy as np
import openai
import pytest
from PIL import Image

from tessella.models.preprocessing.decode import decode
from tessella.models.registry import load_model

from ...support import pictures
from ...support.live import served

IMAGES = [pictures.encode(pictures.gradient()), pictures.encode(Image.new("RGB", (40, 30), "red"))]
TEXTS = [base64.b64encode(image).decode() for image in IMAGES]
MODELS = ("digits-vit", "digits-tnt")


@pytest.fixture(scope="module", params=["one process", "a front end"])
def url(request: pytest.FixtureRequest, exact: str) -> Iterator[str]:
    if request.param == "one process":
        yield exact
        return
    with served("--frontends", "1", "--dtype", "float32") as url:
        yield url


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        yield client


def features(name: str, pooling: Literal["cls", "mean"] | None = None) -> Any:
    model = load_model(name, dtype="float32")
    return model.embeddings(np.stack([model.preprocess(decode(image)) for image in IMAGES]), pooling).numpy()


def assert_close(actual: Any, expected: Any) -> None:
    np.testing.assert_allclose(actual, expected, atol=2e-5)


@pytest.mark.parametrize("name", MODELS)
def test_embeddings_are_the_features_of_the_network(client: openai.OpenAI, name: str) -> None:
    answer = client.embeddings.create(model=name, input=TEXTS)  # requests base64
    assert (answer.object, answer.model, [item.index for item in answer.data]) == ("list", name, [0, 1])
    assert_close([item.embedding for item in answer.data], features(name))
    plain = client.embeddings.create(model=name, input=TEXTS, encoding_format="float")
    assert_close([item.embedding for item in plain.data], features(name))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_pooling(client: openai.OpenAI, name: str, pooling: Literal["cls", "mean"]) -> None:
    answer = client.embeddings.create(model=name, input=TEXTS, extra_body={"pooling": pooling})
    assert_close([item.embedding for item in answer.data], features(name, pooling))


def test_normalised_embeddings_by_the_async_client(url: str) -> None:
    async def ask() -> list[list[float]]:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client:
            answers = await asyncio.gather(
                *(
                    client.embeddings.create(model="digits-vit", input=text, extra_body={"normalize": True})
                    for text in TEXTS * 8
                )
            )
        return [answer.data[0].embedding for answer in answers]

    expected = features("digits-vit")
    assert_close(asyncio.run(ask()), np.tile(expected / np.linalg.norm(expected, axis=1, keepdims=True), (8, 1)))


def test_all_forms_of_images(url: str) -> None:
    uri = f"data:image/png;base64,{TEXTS[0]}"
    forms = [TEXTS[0], uri, {"type": "image_url", "image_url": {"url": uri}}, {"image_url": uri}, {"url": uri}]
    answers = [httpx.post(f"{url}/v1/embeddings", json={"input": form}) for form in [*forms, forms]]
    assert {answer.status_code for answer in answers} == {200}
    assert len({str(answer.json()["data"][0]["embedding"]) for answer in answers[:-1]}) == 1
    several = answers[-1].json()
    assert [item["index"] for item in several["data"]] == [0, 1, 2, 3, 4]
    assert several["usage"] == {"prompt_tokens": 0, "total_tokens": 0, "images": 5}
    assert int(answers[-1].headers["x-batch-size"]) >= 1


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no image": ({"input": []}, "contains no images"),
    "a number": ({"input": 7}, "input"),
    "fewer dimensions": ({"input": TEXTS[0], "dimensions": 8}, "dimensions: .*cannot be shortened"),
    "another format": ({"input": TEXTS[0], "encoding_format": "int8"}, "'float' or 'base64'"),
    "another pooling": ({"input": TEXTS[0], "pooling": "max"}, "'cls' or 'mean'"),
    "an unknown field": ({"input": TEXTS[0], "truncate": True}, "truncate"),
    "a URL": ({"input": "https://example.org/cat.png"}, "fetching image URLs is disabled"),
    "two URLs of one image": ({"input": {"url": "data:,", "image_url": "data:,"}}, "either 'image_url' or 'url'"),
    "no base64": ({"input": [TEXTS[0], "???"]}, "image 1: the image is not valid base64"),
}


@pytest.mark.parametrize("name", BAD)
def test_invalid_requests(exact: str, name: str) -> None:
    body, message = BAD[name]
    with (
        openai.OpenAI(base_url=f"{exact}/v1", api_key="none", max_retries=0) as client,
        pytest.raises(openai.BadRequestError, match=message),
    ):
        client.post("/embeddings", body=body, cast_to=object)


def test_errors_raise_the_exceptions_of_the_client(exact: str) -> None:
    with openai.OpenAI(base_url=f"{exact}/v1", api_key="none", max_retries=0) as client:
        with pytest.raises(openai.NotFoundError, match="'gpt' is not served; available"):
            client.embeddings.create(model="gpt", input=TEXTS[0])
        with pytest.raises(openai.UnprocessableEntityError, match="image 1: not an image"):
            client.embeddings.create(model="digits-vit", input=[TEXTS[0], "AAAA"])
        with pytest.raises(openai.APIStatusError, match="at most 64 images"):
            client.embeddings.create(model="digits-vit", input=TEXTS * 33)
