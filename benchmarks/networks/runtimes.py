"""Candidates in graph runtimes, on a CPU: timm's network exported with torch, tessella's with `tessella export`."""

import tempfile
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...kernels.reference import normalise
from ...models.checkpoints.description import Description
from ...models.execution.cuda_graphs import Forward
from ...models.networks.tnt import TNT
from ...models.networks.vit import ViT
from ...models.onnx.export import ExportOptions, write
from ...models.onnx.onnxruntime_model import CPU, OnnxRuntimeModel, load_session
from ...models.onnx.openvino_model import (
    PRECISIONS,
    DynamicBatch,
    OpenVINOModel,
    ParallelStreams,
    require_openvino,
    settings,
)
from ...models.preprocessing.preprocess import Preprocessing
from ..report import dtype_name

Images = NDArray[np.float32]


def runtime_candidates(
    timm_network: nn.Module, network: ViT | TNT, description: Description, dtypes: Iterable[torch.dtype]
) -> dict[str, Forward]:
    """Candidates by name: OpenVINO in each dtype, ONNX Runtime in float32 only, its one fast dtype on a CPU.

    Args:
        timm_network: takes normalised images.
        network: tessella's with the same weights, and the preprocessing of `description`.
    """
    preprocessing = description.preprocessing
    candidates: dict[str, Forward] = {}
    with tempfile.TemporaryDirectory(prefix="tessella-bench-") as folder:
        file, timm_file = (Path(folder) / f"{name}.onnx" for name in ("tessella", "timm"))
        write(file, network, description, ExportOptions(), {})
        _export_timm(timm_network, timm_file, preprocessing.size)
        for dtype in dtypes:
            name = dtype_name(dtype)
            if dtype == torch.float32:
                candidates["timm onnxruntime float32"] = _from_images(_Session(timm_file), preprocessing)
                candidates["tessella onnxruntime float32"] = _from_pixels(OnnxRuntimeModel(file, device="cpu").logits)
            compiled = _Compiled(timm_file, PRECISIONS[name])
            candidates[f"timm openvino {name}"] = _from_images(compiled, preprocessing)
            candidates[f"timm openvino-streams {name}"] = _from_images(compiled.streams, preprocessing)
            candidates[f"tessella openvino {name}"] = _from_pixels(OpenVINOModel(file, dtype=name).logits)
    return candidates


class _Session:
    """timm's exported file in ONNX Runtime."""

    def __init__(self, file: Path) -> None:
        self._session = load_session(file, [(CPU, {})])

    def __call__(self, images: Images) -> Any:
        return self._session.run(None, {"images": images})[0]


class _Compiled:
    """timm's exported file in OpenVINO, compiled for each batch size with static shapes, which is fastest.

    `streams` runs each image of a batch in a stream of its own, as tessella does: only the graphs differ then.
    """

    def __init__(self, file: Path, precision: str) -> None:
        self._core = require_openvino().Core()
        self._model = self._core.read_model(file)
        self._settings = settings(precision)
        self._size = 0
        self._batches: DynamicBatch | None = None
        self.streams = ParallelStreams(self._core, self._model, 0, self._settings)

    def __call__(self, images: Images) -> Any:
        if self._batches is None or len(images) != self._size:
            model = self._model.clone()
            model.reshape(list(images.shape))
            self._size, self._batches = len(images), DynamicBatch(self._core, model, 0, self._settings)
        return self._batches(images)


def _export_timm(network: nn.Module, file: Path, size: int) -> None:
    batch = torch.export.Dim("batch", min=1, max=4096)
    with warnings.catch_warnings(action="ignore"), torch.no_grad():
        torch.onnx.export(
            network,
            (torch.zeros(2, 3, size, size),),
            file,
            dynamo=True,
            verbose=False,
            opset_version=20,
            input_names=["images"],
            dynamic_shapes=({0: batch},),
        )


def _from_images(call: Callable[[Images], Any], preprocessing: Preprocessing) -> Forward:
    mean, std = torch.tensor(preprocessing.mean), torch.tensor(preprocessing.std)

    def run(pixels: Tensor) -> Tensor:
        images = normalise(pixels, mean, std, torch.float32)
        return torch.from_numpy(np.asarray(call(images.numpy()), np.float32))

    return run


def _from_pixels(call: Callable[[NDArray[np.uint8]], NDArray[np.float32]]) -> Forward:
    return lambda pixels: torch.from_numpy(call(pixels.numpy()))
