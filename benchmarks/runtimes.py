"""Graph runtimes among the candidates, on a CPU: timm's network as exported by its users, ours by `tessella export`."""

import shutil
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..kernels.reference import normalise
from ..models import cpu
from ..models.checkpoint import Description
from ..models.export import Wishes, write
from ..models.onnx_gpu import CPU
from ..models.onnx_session import OnnxSession, load_session
from ..models.openvino_model import PRECISIONS, OpenVINOModel, require_openvino
from ..models.tnt import TNT
from ..models.vit import ViT

Candidate = Callable[[Tensor], Tensor]
Images = NDArray[np.float32]


class Runtimes:
    """Both networks as .onnx files in a temporary folder, gone with this object.

    Args:
        theirs: timm's, over normalised images.
        ours: the same weights in our network.
        mean, std: float32 (3,).
    """

    def __init__(self, theirs: nn.Module, ours: ViT | TNT, description: Description) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="tessella-bench-")
        self._ours, self._theirs = (Path(self._folder.name) / f"{name}.onnx" for name in ("ours", "theirs"))
        recipe = description.preprocessing
        self._mean, self._std = torch.tensor(recipe.mean), torch.tensor(recipe.std)
        write(self._ours, ours, description, Wishes(), {})
        _export_theirs(theirs, self._theirs, recipe.size)

    def candidates(self, dtype: torch.dtype) -> dict[str, Candidate]:
        """By name; OpenVINO in `dtype`, onnxruntime only in float32, which is all it multiplies on a CPU."""
        name = str(dtype).removeprefix("torch.")
        made: dict[str, Candidate] = {}
        if dtype == torch.float32:
            session = load_session(self._theirs, [(CPU, {})])
            made["timm onnxruntime float32"] = self._of_images(lambda images: session.run(None, {"images": images})[0])
            made["tessella onnxruntime float32"] = _of_pixels(OnnxSession(self._ours, device="cpu").logits)
        made[f"timm openvino {name}"] = self._of_images(_Compiled(self._theirs, PRECISIONS[name]))
        made[f"tessella openvino {name}"] = _of_pixels(OpenVINOModel(self._ours, dtype=name).logits)
        return made

    def _of_images(self, call: Callable[[Images], Any]) -> Candidate:
        def run(pixels: Tensor) -> Tensor:
            images = normalise(pixels, self._mean, self._std, torch.float32)
            return torch.from_numpy(np.asarray(call(images.numpy()), np.float32))

        return run


class _Compiled:
    """timm's file in OpenVINO, compiled for each batch size with fixed shapes, as is quickest there."""

    def __init__(self, file: Path, precision: str) -> None:
        openvino = require_openvino()
        self._file, self._core = file, openvino.Core()
        self._settings = {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": cpu.usable_cores(),
            "PERFORMANCE_HINT": "LATENCY",
        }
        self._requests: dict[int, Any] = {}

    def __call__(self, images: Images) -> Any:
        request = self._requests.get(len(images)) or self._compile(images)
        return request.infer([images], share_inputs=True)[0]

    def _compile(self, images: Images) -> Any:
        model = self._core.read_model(self._file)
        model.reshape(list(images.shape))
        request = self._core.compile_model(model, "CPU", self._settings).create_infer_request()
        self._requests[len(images)] = request
        return request


def compiled(network: nn.Module, mean: Tensor, std: Tensor, dtype: torch.dtype) -> Candidate | None:
    """timm's network through torch.compile; None without the C++ compiler that it needs on a CPU."""
    if shutil.which("g++") is None and shutil.which("clang++") is None:
        return None
    network = network.to(dtype)
    quick = torch.compile(network, dynamic=False)

    @torch.inference_mode()
    def run(pixels: Tensor) -> Tensor:
        with warnings.catch_warnings(action="ignore"):
            logits: Tensor = quick(normalise(pixels, mean, std, dtype))
        return logits.float()

    return run


def _export_theirs(network: nn.Module, file: Path, size: int) -> None:
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


def _of_pixels(call: Callable[[NDArray[np.uint8]], NDArray[np.float32]]) -> Candidate:
    return lambda pixels: torch.from_numpy(call(pixels.numpy()))
