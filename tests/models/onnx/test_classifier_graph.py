"""Classifier models: further outputs and their shapes, and models written and served where torch is missing."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch

from tessella.models.execution.folded_tensors import state_arrays
from tessella.models.networks.build import NormalizedNetwork, build
from tessella.models.onnx.classifier_graph import classifier_model
from tessella.models.registry import describe, load_network

from ...support.exports import VIT, pixels
from ...support.onnx_graphs import MEAN, STD
from ...support.references import randomise


def test_further_outputs_agree_with_the_logits(tmp_path: Path) -> None:
    model = classifier_model(VIT, state_arrays(randomise(build(VIT))), MEAN, STD, softmax=True, top_k=2)
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
    model = classifier_model(VIT, state_arrays(randomise(build(VIT))), MEAN, STD)
    assert [output.name for output in model.graph.outputs] == ["logits"]
    assert model.producer_name == "tessella"


def test_the_network_is_not_changed() -> None:
    network = randomise(build(VIT))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    classifier_model(VIT, state_arrays(network), MEAN, STD, dtype="float16")
    assert all(bool((value == before[name]).all()) for name, value in network.state_dict().items())


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
import numpy as np
import onnxruntime
from safetensors.numpy import load_file
from tessella.models.checkpoints.sources import ZOO
from tessella.models.onnx.classifier_graph import classifier_model
from tessella.models.registry import describe
import onnx_ir as ir

name, dtype, pixels, folder = sys.argv[1:]
description = describe(name)
preprocessing = description.preprocessing
weights = load_file(ZOO / f"{name}.safetensors")
model = classifier_model(description.config, weights, preprocessing.mean, preprocessing.std, dtype=dtype)
ir.save(model, f"{folder}/m.onnx")
if dtype != "bfloat16":
    session = onnxruntime.InferenceSession(f"{folder}/m.onnx")
    np.save(f"{folder}/logits.npy", session.run(["logits"], {"pixels": np.load(pixels)})[0])
"""


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float16", 2e-2)])
@pytest.mark.parametrize("name", ["digits-vit", "digits-tnt"])
def test_a_checkpoint_is_folded_written_and_run_without_torch(
    name: str, dtype: str, tolerance: float, tmp_path: Path
) -> None:
    pixels, preprocessing = torch.randint(0, 256, (3, 24, 24, 3), dtype=torch.uint8), describe(name).preprocessing
    np.save(tmp_path / "pixels.npy", pixels.numpy())
    command = [sys.executable, "-c", WITHOUT_TORCH, name, dtype, str(tmp_path / "pixels.npy"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with torch.inference_mode():
        expected = NormalizedNetwork(load_network(name), preprocessing.mean, preprocessing.std)(pixels).numpy()
    logits = np.load(tmp_path / "logits.npy")
    assert np.abs(logits - expected).max() <= tolerance * np.abs(expected).max()


def test_bfloat16_weights_written_without_torch_are_those_of_torch(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_TORCH, "digits-vit", "bfloat16", "", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    stored = ir.load(tmp_path / "m.onnx").graph.initializers["blocks.0.contract.weight"].const_value
    assert stored is not None
    expected = load_network("digits-vit").state_dict()["blocks.0.mlp.contract.weight"].bfloat16()
    assert np.array_equal(stored.numpy().view(np.uint16), expected.view(torch.uint16).numpy())
