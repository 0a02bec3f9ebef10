"""FastAPI peer without a socket: its response and its stages, with the model replaced."""

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tessella.benchmarks.service.load_generator import top_prediction
from tessella.benchmarks.service.peers import fastapi_timm
from tessella.benchmarks.service.peers.timm_model import Options

from ....support.peer_model import PeerModel


def test_the_body_is_decoded_and_classified(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fastapi_timm, "TimmModel", PeerModel)
    client = TestClient(fastapi_timm.create_app(Options(Path(), 0, 2, 32, "cpu", "float32")))
    assert client.get("/readyz").status_code == 200
    document = client.post("/classify", content=b"7").json()
    assert top_prediction(document) == (7, 0.5)
    stages = document["timings_ms"]
    assert set(stages) == {"decode", "queue", "inference", "total"}
    assert all(stage > 0 for stage in stages.values())
    assert stages["queue"] + stages["inference"] < stages["total"]
