"""Tasks of a model: logits, features or attention maps, and the shapes of their results. No torch."""

from enum import IntEnum
from math import prod

from ...models.config import Config, ViTConfig

Shape = tuple[int, ...]


class Task(IntEnum):
    """Output to compute. The value is the byte of the wire protocol; results are float32, in announced shapes."""

    LOGITS = 0
    FEATURES = 1
    """Input of the head, pooled as in the checkpoint."""
    CLS_FEATURES = 2
    """Class token after the final norm."""
    MEAN_FEATURES = 3
    """Mean of the patch tokens after the final norm."""
    ATTENTION = 4
    """Attention from the class token, or the mean that the head reads, to each patch: per layer, mean of heads."""
    ROLLOUT = 5
    """Attention rollout: the same, accumulated over all layers up to each."""

    def __str__(self) -> str:
        return self.name.lower().replace("_", " ")


def result_shapes(config: Config) -> dict[Task, Shape]:
    """Tasks of a network on PyTorch, each with the shape of one image's result."""
    shapes: dict[Task, Shape] = {Task.LOGITS: (config.num_classes,)} if config.num_classes else {}
    shapes[Task.FEATURES] = (config.feature_dim,)
    if not isinstance(config, ViTConfig) or config.class_token:
        shapes[Task.CLS_FEATURES] = (config.dim,)
    shapes[Task.MEAN_FEATURES] = (config.dim,)
    return shapes | dict.fromkeys((Task.ATTENTION, Task.ROLLOUT), (config.depth, config.grid, config.grid))


def max_result_bytes(shapes: dict[Task, Shape]) -> int:
    """Size in bytes of the largest result of one image."""
    return max((4 * prod(shape) for shape in shapes.values()), default=0)
