"""Runner protocols: a loaded model that maps a batch of images to results, and its description. No torch."""

from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ...models.preprocessing.images import ImageBatch
from ...models.preprocessing.preprocess import Preprocessing
from .tasks import Shape, Task, max_result_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerInfo:
    """Description of a loaded model."""

    family: str
    parameters: int
    config: dict[str, Any]
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    backend: str
    device: str
    dtype: str
    choice: str = ""
    """Explanation of how backend and dtype were chosen."""
    results: dict[Task, Shape] = field(default_factory=dict)
    """Supported tasks, each with the shape of one image's result. Default: logits, (labels,)."""

    preferred_batch: int | None = None
    """Largest batch size that is worth waiting for on this CPU, by rule or table; None: no preference."""

    buckets: dict[Task, tuple[int, ...]] = field(default_factory=dict)
    """Batch sizes that a task is compiled for, ascending; a task without any accepts all sizes."""

    resizes: bool = False
    """True if the runner resizes and crops images itself, so that they may have any size."""

    def __post_init__(self) -> None:
        if not self.results:
            object.__setattr__(self, "results", {Task.LOGITS: (len(self.labels),)})

    def slot_bytes(self, max_resize_pixels: int) -> int:
        """Size in bytes of a shared-memory slot, which holds an image, then its result.

        Args:
            max_resize_pixels: maximum size of an image, in pixels, that the runner resizes, if it does.
        """
        pixels = max(self.preprocessing.size**2, max_resize_pixels if self.resizes else 0)
        return max(pixels * 3, max_result_bytes(self.results))

    def to_dict(self) -> dict[str, Any]:
        """Description as JSON values, for `from_dict`."""
        named = {
            "results": {task.name: shape for task, shape in self.results.items()},
            "buckets": {task.name: sizes for task, sizes in self.buckets.items()},
        }
        return asdict(self) | named

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Self:
        """Description from the JSON values of `to_dict`."""
        fields = document["preprocessing"]
        preprocessing = Preprocessing(**fields | {"mean": tuple(fields["mean"]), "std": tuple(fields["std"])})
        results = {Task[name]: tuple(shape) for name, shape in document["results"].items()}
        typed = {
            "labels": tuple(document["labels"]),
            "preprocessing": preprocessing,
            "results": results,
            "buckets": {Task[name]: tuple(sizes) for name, sizes in document["buckets"].items()},
        }
        return cls(**document | typed)


class Runner(Protocol):
    """Runner of a loaded model. `run` is called from one thread at a time."""

    @property
    def info(self) -> RunnerInfo: ...

    def run(self, images: ImageBatch, task: Task = Task.LOGITS) -> NDArray[np.float32]:
        """Run a batch of B images; returns float32 (B, …), where the rest of the shape is `info.results[task]`.

        Args:
            images: preprocessed, unless `info.resizes`.
            task: one of `info.results`.
        """
        ...


@runtime_checkable
class PipelinedRunner(Runner, Protocol):
    """Runner with several batches in flight: transfers of one overlap with the computation of another.

    `start` and `finish` are called from one thread, in the same order, with at most `depth` batches in flight. An
    exception of either concerns its own batch only.
    """

    @property
    def depth(self) -> int:
        """Maximum number of batches in flight."""
        ...

    def start(self, images: ImageBatch, task: Task) -> Any:
        """Start a batch, as `run`; returns a handle for `finish` without waiting."""
        ...

    def finish(self, call: Any) -> NDArray[np.float32]:
        """Wait for a batch and return its result."""
        ...


class SynchronousRunner:
    """Adapter of a plain runner to `PipelinedRunner`: `start` blocks until the batch is done."""

    depth = 1

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def start(self, images: ImageBatch, task: Task) -> NDArray[np.float32]:
        return self._runner.run(images, task)

    def finish(self, call: NDArray[np.float32]) -> NDArray[np.float32]:
        return call
