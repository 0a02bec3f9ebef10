"""What runs a model, seen from the engine: pixels in, logits out. The only place of the service that knows torch."""

from dataclasses import asdict, dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from ..models.preprocess import Preprocessing


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

    def to_document(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Self:
        recipe = document["preprocessing"]
        preprocessing = Preprocessing(**recipe | {"mean": tuple(recipe["mean"]), "std": tuple(recipe["std"])})
        return cls(**document | {"labels": tuple(document["labels"]), "preprocessing": preprocessing})


class Runner(Protocol):
    """A loaded model. `run` is called from one thread at a time."""

    @property
    def info(self) -> RunnerInfo: ...

    def run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(B, H, W, 3) pixels -> (B, classes) logits."""
        ...


class TorchRunner:
    """A checkpoint on PyTorch.

    Args:
        source: a shipped name, a file, a folder or a hub id.
        device, dtype, backend: as in `tessella serve`; `auto` lets `models` choose.
    """

    def __init__(self, source: str, *, device: str = "auto", dtype: str = "auto", backend: str = "auto") -> None:
        from ..models.precision import limit_threads
        from ..models.registry import load_model

        limit_threads()
        self._model = load_model(source, device=device, dtype=dtype, backend=backend)
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
        )

    def run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = self._model.logits(pixels).numpy(force=True)
        return logits
