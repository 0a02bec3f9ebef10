"""Model list route `/v1/models` through the official client."""

import time

import httpx
import openai

from tessella.server.settings import Settings

from ...support.gated_runner import GatedRunner
from ...support.live import gated


def test_the_client_lists_the_served_models(exact: str) -> None:
    with openai.OpenAI(base_url=f"{exact}/v1", api_key="none", max_retries=0) as client:
        models = client.models.list().data
    assert [(model.id, model.object, model.owned_by) for model in models] == [
        (name, "model", "tessella") for name in ("digits-vit", "digits-tnt")
    ]
    assert all(time.time() - 3600 < model.created <= time.time() for model in models)


def test_errors_have_the_shape_of_the_client() -> None:
    with gated(GatedRunner(), Settings(model=("gated",), api_key=("red",))) as live:
        answer = httpx.get(f"{live.url}/v1/models")
        assert (answer.status_code, answer.json()["error"]["type"]) == (401, "unauthorized")
        accepted = httpx.get(f"{live.url}/v1/models", headers={"authorization": "Bearer red"})
        assert [model["id"] for model in accepted.json()["data"]] == ["gated"]
