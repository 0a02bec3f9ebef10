"""What runs a model, seen from the engine: images in, results out. The only place of the service that knows torch."""

from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ...models.preprocessing.images import ImageBatch
from ...models.preprocessing.preprocess import Preprocessing
from .tasks import Shape, Task, max_result_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerInfo:
    """What a client may know of a loaded model."""

    family: str
    parameters: int
    config: dict[str, Any]
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    backend: str
    device: str
    dtype: str
    choice: str = ""
    """A sentence on how backend and dtype were chosen, for people."""
    results: dict[Task, Shape] = field(default_factory=dict)
    """What it can be asked for, each with the shape of one image's result. By default: logits, one for each label."""

    preferred_batch: int | None = None
    """Largest batch that was measured to pay on this CPU; None where that was not measured."""

    buckets: dict[Task, tuple[int, ...]] = field(default_factory=dict)
    """Sizes of batch that a task is compiled for, ascending; without them any size runs as it comes."""

    resizes: bool = False
    """Images of any size may be handed in: it resizes and crops them itself."""

    def __post_init__(self) -> None:
        if not self.results:
            object.__setattr__(self, "results", {Task.LOGITS: (len(self.labels),)})

    def slot_bytes(self, largest: int) -> int:
        """What an image, and the largest of its results after it, need in shared memory.

        Args:
            largest: image, in pixels, that is left to the runner to resize, if it does.
        """
        pixels = max(self.preprocessing.size**2, largest if self.resizes else 0)
        return max(pixels * 3, max_result_bytes(self.results))

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        named = {
            "results": {task.name: shape for task, shape in self.results.items()},
            "buckets": {task.name: sizes for task, sizes in self.buckets.items()},
        }
        return asdict(self) | named

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Self:
        recipe = document["preprocessing"]
        preprocessing = Preprocessing(**recipe | {"mean": tuple(recipe["mean"]), "std": tuple(recipe["std"])})
        results = {Task[name]: tuple(shape) for name, shape in document["results"].items()}
        typed = {
            "labels": tuple(document["labels"]),
            "preprocessing": preprocessing,
            "results": results,
            "buckets": {Task[name]: tuple(sizes) for name, sizes in document["buckets"].items()},
        }
        return cls(**document | typed)


class Runner(Protocol):
    """A loaded model. `run` is called from one thread at a time."""

    @property
    def info(self) -> RunnerInfo: ...

    def run(self, frames: ImageBatch, task: Task = Task.LOGITS) -> NDArray[np.float32]:
        """B images -> (B, …), one result of the announced shape for each. `task` is announced too.

        All of them are `ready`, unless it has announced that it resizes.
        """
        ...


@runtime_checkable
class PipelinedRunner(Runner, Protocol):
    """A runner that can have several batches under way: what is copied for one overlaps with what another computes.

    `start` and `finish` are called from one thread, in the same order, with at most `depth` starts unfinished. Either
    may raise; that concerns its own batch only.
    """

    @property
    def depth(self) -> int: ...

    def start(self, frames: ImageBatch, task: Task) -> Any:
        """As `run`, but returns before it is done, with what `finish` takes."""
        ...

    def finish(self, call: Any) -> NDArray[np.float32]:
        """Waits for the result."""
        ...


class SynchronousRunner:
    """Any runner as one that has a batch under way at a time: it is done when `start` returns."""

    depth = 1

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def start(self, frames: ImageBatch, task: Task) -> NDArray[np.float32]:
        return self._runner.run(frames, task)

    def finish(self, call: NDArray[np.float32]) -> NDArray[np.float32]:
        return call
