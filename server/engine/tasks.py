"""What a model can be asked for: scores of classes, features, or what it attended to. Knows no torch."""

from enum import IntEnum
from math import prod

from ...models.config import Config, ViTConfig

Shape = tuple[int, ...]


class Task(IntEnum):
    """The value is the byte that crosses the socket. Every result is float32; a model announces its shapes."""

    LOGITS = 0
    FEATURES = 1
    """What the head reads: as the checkpoint pools."""
    CLS_FEATURES = 2
    """The class token after the last block, normalised."""
    MEAN_FEATURES = 3
    """The mean of the patch tokens after the last block, normalised."""
    ATTENTION = 4
    """What the class token, or the mean that the head reads, gives to each patch; per layer, heads averaged."""
    ROLLOUT = 5
    """The same, rolled out through all layers up to each."""

    def __str__(self) -> str:
        return self.name.lower().replace("_", " ")


def result_shapes(config: Config) -> dict[Task, Shape]:
    """The tasks of a network of this form on PyTorch, each with the shape of one image's result."""
    results: dict[Task, Shape] = {Task.LOGITS: (config.num_classes,)} if config.num_classes else {}
    results[Task.FEATURES] = (config.feature_dim,)
    if not isinstance(config, ViTConfig) or config.class_token:
        results[Task.CLS_FEATURES] = (config.dim,)
    results[Task.MEAN_FEATURES] = (config.dim,)
    return results | dict.fromkeys((Task.ATTENTION, Task.ROLLOUT), (config.depth, config.grid, config.grid))


def max_result_bytes(results: dict[Task, Shape]) -> int:
    """Size of the largest result of one image."""
    return max((4 * prod(shape) for shape in results.values()), default=0)
