"""LitServe peer without a server: a batch is decoded, classified and answered in order, with the model replaced."""

from pathlib import Path

import pytest

from tessella.benchmarks.service.load_generator import top_prediction
from tessella.benchmarks.service.peers import litserve_timm
from tessella.benchmarks.service.peers.timm_model import Options

from ....support.peer_model import PeerModel


def test_a_batch_is_answered_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litserve_timm, "TimmModel", PeerModel)
    api = litserve_timm.TimmAPI(Options(Path(), 0, 2, 8, "cpu", "float32"))
    api.setup("cpu")
    assert (api.max_batch_size, api.api_path) == (8, "/classify")
    outputs = api.unbatch(api.predict(api.batch([api.decode_request(body) for body in (b"3", b"1", b"2")])))
    documents = [api.encode_response(output) for output in outputs]
    assert [top_prediction(document) for document in documents] == [(3, 0.5), (1, 0.5), (2, 0.5)]
    stages = documents[0]["timings_ms"]
    assert stages["total"] == pytest.approx(stages["decode"] + stages["inference"])
