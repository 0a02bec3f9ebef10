"""PyTorch runner: a checkpoint on a device."""

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from ...models.checkpoints.sources import Overrides
from ...models.execution.compile_events import watch_triton
from ...models.packages import installed
from ...models.preprocessing.images import ImageBatch
from .runner import RunnerInfo
from .tasks import Task, result_shapes


class TorchRunner:
    """Runner of a checkpoint on PyTorch, a `PipelinedRunner`.

    Args:
        source: shipped name, file, folder or hub id.
        device, dtype, backend, batch_invariant: as in `Settings`.
        overrides: architecture and image size, for checkpoints that do not contain them.
    """

    def __init__(
        self,
        source: str,
        *,
        device: str = "auto",
        dtype: str = "auto",
        backend: str = "auto",
        batch_invariant: bool = False,
        **overrides: Unpack[Overrides],
    ) -> None:
        from ...models.execution.dtype import limit_threads
        from ...models.registry import load_model

        limit_threads()
        if backend != "torch" and installed("triton"):
            watch_triton()
        self._model = load_model(
            source, device=device, dtype=dtype, backend=backend, batch_invariant=batch_invariant, **overrides
        )
        self.info = RunnerInfo(
            family=type(self._model.config).__name__.removesuffix("Config").lower(),
            parameters=sum(parameter.numel() for parameter in self._model.network.parameters()),
            config=asdict(self._model.config),
            labels=self._model.labels,
            preprocessing=self._model.preprocessing,
            backend=self._model.backend,
            device=str(self._model.device),
            dtype=str(self._model.dtype).removeprefix("torch."),
            choice=self._model.choice,
            results=result_shapes(self._model.config),
            buckets=dict.fromkeys((Task.LOGITS, Task.FEATURES), self._model.buckets) if self._model.buckets else {},
            resizes=self._model.resizes_on_device,
        )
        self._functions: dict[Task, Callable[[Any], Any]] = {
            Task.LOGITS: self._model.logits,
            Task.FEATURES: self._model.embeddings,
            Task.CLS_FEATURES: partial(self._model.embeddings, pooling="cls"),
            Task.MEAN_FEATURES: partial(self._model.embeddings, pooling="mean"),
            Task.ATTENTION: partial(self._model.attention_maps, method="attention"),
            Task.ROLLOUT: partial(self._model.attention_maps, method="rollout"),
        }

        resize = self._model.device_resize  # compiles its kernels
        self._transfers = None
        if self._model.device.type == "cuda":
            from ...models.execution.pinned_transfers import PinnedTransfers

            self._transfers = PinnedTransfers(self._model.device, resize)

    def run(self, images: ImageBatch, task: Task = Task.LOGITS) -> NDArray[np.float32]:
        """Run a batch, see `Runner.run`."""
        result: NDArray[np.float32] = self._functions[task](self._model.preprocess_batch(images)).numpy(force=True)
        return result

    @property
    def depth(self) -> int:
        """Maximum number of batches in flight."""
        return 1 if self._transfers is None else self._transfers.depth

    def start(self, images: ImageBatch, task: Task) -> Any:
        """Start a batch, see `PipelinedRunner.start`; on a CPU it blocks until the batch is done."""
        if self._transfers is None:
            return self.run(images, task)
        return self._transfers.start(self._functions[task], images)

    def finish(self, call: Any) -> NDArray[np.float32]:
        """Wait for a batch, see `PipelinedRunner.finish`."""
        result: NDArray[np.float32] = call if self._transfers is None else self._transfers.finish(call)
        return result
