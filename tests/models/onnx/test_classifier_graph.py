"""Classifier models: further outputs, their shapes, and no torch or exporter in what is written."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime

from tessella.models.networks.build import build
from tessella.models.onnx.classifier_graph import classifier_model

from ...support.exports import VIT, pixels
from ...support.onnx_graphs import MEAN, STD
from ...support.references import randomise


def test_further_outputs_agree_with_the_logits(tmp_path: Path) -> None:
    model = classifier_model(randomise(build(VIT)), MEAN, STD, softmax=True, top_k=2)
    ir.save(model, tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    assert [output.name for output in session.get_outputs()] == ["logits", "probabilities", "scores", "indices"]
    assert [output.shape for output in session.get_outputs()] == [
        ["batch", 7],
        ["batch", 7],
        ["batch", 2],
        ["batch", 2],
    ]
    logits, probabilities, scores, indices = session.run(None, {"pixels": pixels(32, 3).numpy()})
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    assert np.allclose(probabilities, exponentials / exponentials.sum(1, keepdims=True), atol=1e-6)
    assert np.array_equal(indices, np.argsort(-logits, axis=1)[:, :2])
    assert np.allclose(scores, np.take_along_axis(probabilities, indices, 1))


def test_logits_alone_are_the_default() -> None:
    model = classifier_model(randomise(build(VIT)), MEAN, STD)
    assert [output.name for output in model.graph.outputs] == ["logits"]
    assert model.producer_name == "tessella"


def test_the_network_is_not_changed() -> None:
    network = randomise(build(VIT))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    classifier_model(network, MEAN, STD, dtype="float16")
    assert all(bool((value == before[name]).all()) for name, value in network.state_dict().items())
