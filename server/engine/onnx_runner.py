"""An .onnx file behind the engine, in onnxruntime or OpenVINO. Needs no torch."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...models.onnx.model import OnnxModel
from ...models.preprocessing.images import ImageBatch, stack_images
from .runner import Runner, RunnerInfo
from .tasks import Shape, Task

BACKENDS = ("onnxruntime", "tensorrt", "openvino")


class OnnxRunner:
    """A loaded file.

    Args:
        plain: loads the checkpoint that was exported, when something other than logits is first asked for.
        results: what it then gives.
    """

    def __init__(
        self,
        model: OnnxModel,
        *,
        plain: Callable[[], Runner] | None = None,
        results: dict[Task, Shape] | None = None,
    ) -> None:
        self._model = model
        self._load_plain = plain
        metadata = model.metadata
        self.info = RunnerInfo(
            family=metadata.family,
            parameters=metadata.parameters,
            config=metadata.config,
            labels=metadata.labels,
            preprocessing=metadata.preprocessing,
            backend=model.backend,
            device=model.device,
            dtype=model.dtype,
            choice=model.choice,
            results=results or {},
            buckets={Task.LOGITS: model.buckets} if model.buckets else {},
        )

    def run(self, frames: ImageBatch, task: Task = Task.LOGITS) -> NDArray[np.float32]:
        return self._model.logits(stack_images(frames)) if task == Task.LOGITS else self._plain.run(frames, task)

    @cached_property
    def _plain(self) -> Runner:
        assert self._load_plain is not None, "a file announces logits only"
        return self._load_plain()


def open_onnx(path: Path, backend: str, *, device: str, dtype: str, max_batch_size: int) -> OnnxModel:
    """A file in the runtime that `backend` names; `auto` is onnxruntime.

    Raises:
        CheckpointError: the file cannot be loaded, or is no image classifier.
        ValueError: the backend is not installed, has no such device, or does not compute in that dtype.
    """
    if backend == "openvino":
        from ...models.onnx.openvino_model import OpenVINOModel

        if device not in ("auto", "cpu"):
            raise ValueError(f"the backend 'openvino' runs on the CPU, not on {device!r}: choose --device cpu")
        return OpenVINOModel(path, dtype=dtype)
    if backend not in ("auto", "onnxruntime", "tensorrt"):
        raise ValueError(f"{path} is an ONNX file, which backend {backend!r} does not run: {', '.join(BACKENDS)} do")
    from ...models.onnx.onnxruntime_model import OnnxRuntimeModel

    model = OnnxRuntimeModel(path, device=device, tensorrt=backend == "tensorrt", max_batch_size=max_batch_size)
    if dtype not in ("auto", model.dtype):
        raise ValueError(f"{path} computes in {model.dtype}, not in {dtype}: export it with --dtype {dtype}")
    return model
