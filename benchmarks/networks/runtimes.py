"""Graph runtimes among the candidates, on a CPU: timm's network as exported by its users, ours by `tessella export`."""

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
from ...models.onnx.export import Wishes, write
from ...models.onnx.onnxruntime_model import CPU, OnnxSession, load_session
from ...models.onnx.openvino_model import PRECISIONS, FreeBatch, OpenVINOModel, SideBySide, require_openvino, settings
from ...models.preprocessing.preprocess import Preprocessing
from ..report import dtype_name

Images = NDArray[np.float32]


def runtime_candidates(
    theirs: nn.Module, ours: ViT | TNT, description: Description, dtypes: Iterable[torch.dtype]
) -> dict[str, Forward]:
    """By name; OpenVINO in each dtype, onnxruntime only in float32, which is all it multiplies on a CPU.

    Args:
        theirs: timm's, over normalised images.
        ours: the same weights in our network, with `description`'s preprocessing.
    """
    recipe = description.preprocessing
    made: dict[str, Forward] = {}
    with tempfile.TemporaryDirectory(prefix="tessella-bench-") as folder:
        our_file, their_file = (Path(folder) / f"{name}.onnx" for name in ("ours", "theirs"))
        write(our_file, ours, description, Wishes(), {})
        _export_theirs(theirs, their_file, recipe.size)
        for dtype in dtypes:
            name = dtype_name(dtype)
            if dtype == torch.float32:
                made["timm onnxruntime float32"] = _of_images(_Session(their_file), recipe)
                made["tessella onnxruntime float32"] = _of_pixels(OnnxSession(our_file, device="cpu").logits)
            theirs_compiled = _Compiled(their_file, PRECISIONS[name])
            made[f"timm openvino {name}"] = _of_images(theirs_compiled, recipe)
            made[f"timm openvino-apart {name}"] = _of_images(theirs_compiled.apart, recipe)
            made[f"tessella openvino {name}"] = _of_pixels(OpenVINOModel(our_file, dtype=name).logits)
    return made


class _Session:
    """timm's file in onnxruntime."""

    def __init__(self, file: Path) -> None:
        self._session = load_session(file, [(CPU, {})])

    def __call__(self, images: Images) -> Any:
        return self._session.run(None, {"images": images})[0]


class _Compiled:
    """timm's file in OpenVINO, compiled for each batch size with fixed shapes, as is quickest there.

    `apart` runs the images of a batch as ours does, side by side: the peer gets every advantage that is not the graph.
    """

    def __init__(self, file: Path, precision: str) -> None:
        self._core = require_openvino().Core()
        self._model = self._core.read_model(file)
        self._settings = settings(precision)
        self._size = 0
        self._batches: FreeBatch | None = None
        self.apart = SideBySide(self._core, self._model, 0, self._settings)

    def __call__(self, images: Images) -> Any:
        if self._batches is None or len(images) != self._size:
            model = self._model.clone()
            model.reshape(list(images.shape))
            self._size, self._batches = len(images), FreeBatch(self._core, model, 0, self._settings)
        return self._batches(images)


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


def _of_images(call: Callable[[Images], Any], recipe: Preprocessing) -> Forward:
    mean, std = torch.tensor(recipe.mean), torch.tensor(recipe.std)

    def run(pixels: Tensor) -> Tensor:
        images = normalise(pixels, mean, std, torch.float32)
        return torch.from_numpy(np.asarray(call(images.numpy()), np.float32))

    return run


def _of_pixels(call: Callable[[NDArray[np.uint8]], NDArray[np.float32]]) -> Forward:
    return lambda pixels: torch.from_numpy(call(pixels.numpy()))
