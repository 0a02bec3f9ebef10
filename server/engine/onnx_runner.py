"""ONNX runner: an .onnx file in onnxruntime or OpenVINO. No torch."""

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
    """Runner of a loaded ONNX model.

    Args:
        load_checkpoint: loads the exported checkpoint on PyTorch, when a task other than logits is first requested.
        results: tasks and shapes of that checkpoint.
    """

    def __init__(
        self,
        model: OnnxModel,
        *,
        load_checkpoint: Callable[[], Runner] | None = None,
        results: dict[Task, Shape] | None = None,
    ) -> None:
        self._model = model
        self._load_checkpoint = load_checkpoint
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

    def run(self, images: ImageBatch, task: Task = Task.LOGITS) -> NDArray[np.float32]:
        """Run a batch, see `Runner.run`."""
        if task == Task.LOGITS:
            return self._model.logits(stack_images(images))
        return self._checkpoint.run(images, task)

    @cached_property
    def _checkpoint(self) -> Runner:
        assert self._load_checkpoint is not None, "an ONNX file announces logits only"
        return self._load_checkpoint()


def open_onnx(path: Path, backend: str, *, device: str, dtype: str, max_batch_size: int) -> OnnxModel:
    """Open an ONNX file in the runtime of `backend`; `auto` is onnxruntime.

    Raises:
        CheckpointError: the file cannot be loaded, or is not an image classifier.
        ValueError: the backend is not installed, or does not support the device or the dtype.
    """
    if backend == "openvino":
        from ...models.onnx.openvino_model import OpenVINOModel

        if device not in ("auto", "cpu"):
            raise ValueError(f"backend 'openvino' runs on the CPU, not on {device!r}: set --device cpu")
        return OpenVINOModel(path, dtype=dtype)
    if backend not in ("auto", "onnxruntime", "tensorrt"):
        raise ValueError(f"{path} is an ONNX file, which backend {backend!r} cannot run; choose {', '.join(BACKENDS)}")
    from ...models.onnx.onnxruntime_model import OnnxRuntimeModel

    model = OnnxRuntimeModel(path, device=device, tensorrt=backend == "tensorrt", max_batch_size=max_batch_size)
    if dtype not in ("auto", model.dtype):
        raise ValueError(f"{path} computes in {model.dtype}, not in {dtype}: export it with --dtype {dtype}")
    return model
