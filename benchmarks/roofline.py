"""The floors under a network's time: its operations over the matrix rate, its bytes over the bandwidth. Runs anywhere.

Bytes are the fewest that must move: every weight once, the images as bytes, the logits. Operations are two per
multiply-accumulate of the matrix products. No version runs faster than the larger of the two times.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..models import costs
from ..models.config import Config, ViTConfig
from ..models.variants import find_variant

if TYPE_CHECKING:  # a machine with a GPU need not have rich
    from rich.table import Table


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What a GPU can do at most: operations per second in its matrix units, bytes per second to and from its memory."""

    name: str
    operations: float
    bytes: float
    measured: bool = False


DATASHEETS = {
    "a100": Ceiling("NVIDIA A100 80GB SXM", 312e12, 2.04e12),
    "h100": Ceiling("NVIDIA H100 SXM", 989e12, 3.35e12),
    "h200": Ceiling("NVIDIA H200 SXM", 989e12, 4.8e12),
    "b200": Ceiling("NVIDIA B200", 2250e12, 8.0e12),
    "l4": Ceiling("NVIDIA L4", 121e12, 0.3e12),
    "rtx4090": Ceiling("NVIDIA GeForce RTX 4090", 165e12, 1.01e12),
}
"""Dense bfloat16 with float32 sums, from the vendor's datasheets; a measured ceiling is lower."""


@dataclass(frozen=True, slots=True)
class Floor:
    """Of one batch. `operations`: the published network's; `folded`: the folded graph's; times in seconds."""

    batch: int
    operations: int
    folded: int
    bytes: int
    compute: float
    memory: float

    @property
    def seconds(self) -> float:
        return max(self.compute, self.memory)

    @property
    def images_per_second(self) -> float:
        return self.batch / self.seconds


def floor(config: Config, batch: int, ceiling: Ceiling, *, itemsize: int = 2) -> Floor:
    """The least time of the folded graph.

    Args:
        batch: images at once.
        itemsize: bytes of a weight.
    """
    folded = 2 * folded_macs(config) * batch
    size = itemsize * costs.parameters(config) + batch * (3 * config.image_size**2 + itemsize * config.num_classes)
    return Floor(
        batch=batch,
        operations=2 * costs.macs(config) * batch,
        folded=folded,
        bytes=size,
        compute=folded / ceiling.operations,
        memory=size / ceiling.bytes,
    )


def folded_macs(config: Config) -> int:
    """Multiply-accumulates that are left once the last block computes the pooled rows alone, K and V absorbed."""
    if isinstance(config, ViTConfig) and (config.pooling != "token" or config.qk_norm):
        return costs.macs(config)
    rows = 1 + (isinstance(config, ViTConfig) and config.distillation_token)
    dim, tokens = config.dim, config.tokens
    hidden = config.mlp_dim
    if isinstance(config, ViTConfig) and config.feedforward == "swiglu":
        hidden //= 2
    whole = tokens * dim * (4 * dim + config.mlp_dim + hidden) + 2 * tokens**2 * dim
    absorbed = rows * (4 * dim * dim + 2 * config.heads * tokens * dim + dim * (config.mlp_dim + hidden))
    return costs.macs(config) - whole + absorbed


def ceiling_of(gpu: str) -> Ceiling:
    """
    Raises:
        ValueError: a GPU that is not among the datasheets.
    """
    if gpu.lower() not in DATASHEETS:
        raise ValueError(f"no datasheet for {gpu!r}; known are {', '.join(DATASHEETS)}")
    return DATASHEETS[gpu.lower()]


def config_of(architecture: str) -> Config:
    """
    Raises:
        ValueError: not a known architecture.
    """
    config = find_variant(architecture)
    if config is None:
        raise ValueError(f"unknown architecture {architecture!r}; `tessella models` lists them")
    return config


def table(architecture: str, batches: tuple[int, ...], ceiling: Ceiling) -> "Table":
    """Floors for people."""
    from rich.table import Table

    source = "measured" if ceiling.measured else "datasheet"
    made = Table("batch", "GFLOP", "folded", "compute µs", "memory µs", "images/s at most", title=None)
    made.caption = f"{architecture} on {ceiling.name} ({source}): no version runs faster"
    for batch in batches:
        least = floor(config_of(architecture), batch, ceiling)
        made.add_row(
            str(batch),
            f"{least.operations / 1e9:.1f}",
            f"{least.folded / 1e9:.1f}",
            f"{least.compute * 1e6:.1f}",
            f"{least.memory * 1e6:.1f}",
            f"{least.images_per_second:,.0f}",
        )
    return made


def measured(ceiling: Ceiling, operations: float, bytes_per_second: float) -> Ceiling:
    """The same GPU with rates that were measured."""
    return replace(ceiling, operations=operations, bytes=bytes_per_second, measured=True)
