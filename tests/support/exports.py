"""Small checkpoints for export tests, and .onnx files without our metadata."""

import json
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import TensorProto, helper
from safetensors.torch import save_file

from tessella.models.checkpoints.description import HEADER_KEY, Description
from tessella.models.config import Config, TNTConfig, ViTConfig
from tessella.models.networks.build import build
from tessella.models.preprocessing.preprocess import Preprocessing

from .references import randomise

SIZES: dict[str, Any] = {"image_size": 32, "patch_size": 8, "dim": 48, "depth": 1, "heads": 3, "mlp_dim": 96}
VIT = ViTConfig(**SIZES, num_classes=7)
TNT = TNTConfig(**SIZES, num_classes=7, inner_dim=12, inner_mlp_dim=24, sub_patch_size=2)
NORMALISED = {"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.6, 0.7]}
SIDECAR = {"labels": ["a", "b", "c", "d"], "preprocessing": {"resize": 10, **NORMALISED}}
"""Metadata beside the file of `write_foreign`."""
LABELS = tuple(f"kind {index}" for index in range(7))


def write_checkpoint(file: Path, config: Config) -> Path:
    """Write a checkpoint in our layout, with preprocessing that differs from every default."""
    preprocessing = Preprocessing(size=config.image_size, resize=40, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25))
    labels = LABELS[: config.num_classes]
    description = Description(name=file.stem, config=config, preprocessing=preprocessing, labels=labels)
    network = randomise(build(config))
    save_file(network.state_dict(), file, metadata={HEADER_KEY: description.to_json()})
    return file


def write_foreign(
    file: Path,
    shape: tuple[int | str, ...] = ("n", 3, 8, 8),
    *,
    kind: int = TensorProto.FLOAT,
    softmax: bool = False,
    classes: int = 4,
    opset: int = 17,
    factor: float = 1.0,
) -> Path:
    """Write a linear classifier without metadata: score k is `factor` · k · (mean of the input + 1)."""
    images = helper.make_tensor_value_info("images", kind, shape)
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, (shape[0], classes))
    nodes = [
        helper.make_node("Cast", ["images"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["wide"], ["rows"]),
        helper.make_node("ReduceMean", ["rows"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Mul", ["mean", "factors"], ["scaled"]),
        helper.make_node("Add", ["scaled", "factors"], ["sums"]),
        helper.make_node("Softmax" if softmax else "Identity", ["sums"], ["scores"]),
    ]
    factors = helper.make_tensor("factors", TensorProto.FLOAT, (classes,), [factor * k for k in range(classes)])
    graph = helper.make_graph(nodes, "foreign", [images], [scores], [factors])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, file)
    return file


def write_sidecar(file: Path, **changes: Any) -> Path:
    """Write SIDECAR with changes beside an .onnx file; returns the .onnx file."""
    file.with_suffix(".json").write_text(json.dumps(SIDECAR | changes))
    return file


def pixels(size: int, count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8, generator=generator)
