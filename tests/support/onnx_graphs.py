"""Written ONNX graphs against the network that they were written from, in ONNX Runtime on the CPU."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import torch

from tessella.models.config import Config
from tessella.models.execution.folded_tensors import state_arrays
from tessella.models.networks.build import NormalizedNetwork, build
from tessella.models.onnx.classifier_graph import classifier_model

from .references import randomise

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)


def written_operators(config: Config, folder: Path, *, tolerance: float = 1e-5, **options: Any) -> list[str]:
    """Operator types of the graph of a network with random weights, after its logits were compared at batch 3."""
    network = randomise(build(config)).eval()
    model = classifier_model(config, state_arrays(network), MEAN, STD, **options)
    ir.save(model, folder / "m.onnx")
    onnx.checker.check_model(folder / "m.onnx", full_check=not options.get("fusions"))
    pixels = torch.randint(0, 256, (3, config.image_size, config.image_size, 3), dtype=torch.uint8)
    (logits,) = onnxruntime.InferenceSession(folder / "m.onnx").run(["logits"], {"pixels": pixels.numpy()})
    with torch.inference_mode():
        expected = NormalizedNetwork(network, MEAN, STD)(pixels).numpy()
    assert logits.dtype == np.float32
    assert np.abs(logits - expected).max() <= tolerance * max(1.0, np.abs(expected).max())
    return [node.op_type for node in model.graph]
