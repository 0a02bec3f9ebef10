"""Roofline bound of a whole network: its FLOPs over the matrix rate, its bytes over the bandwidth. Runs anywhere.

Bytes are the minimum traffic: every weight once, the images as uint8, the logits. FLOPs are two per multiply-accumulate
of the matrix products. No implementation is faster than the larger of the two times.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..models import costs
from ..models.config import Config, ViTConfig
from ..models.variants import find_variant

if TYPE_CHECKING:  # rich is optional on a machine with a GPU
    from rich.table import Table


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Peak rates of a GPU: FLOP/s of its matrix units, bytes per second to and from its memory."""

    name: str
    flops_per_second: float
    bytes_per_second: float
    measured: bool = False


DATASHEETS = {
    "a100": Ceiling("NVIDIA A100 80GB SXM", 312e12, 2.04e12),
    "h100": Ceiling("NVIDIA H100 SXM", 989e12, 3.35e12),
    "h200": Ceiling("NVIDIA H200 SXM", 989e12, 4.8e12),
    "b200": Ceiling("NVIDIA B200", 2250e12, 8.0e12),
    "l4": Ceiling("NVIDIA L4", 121e12, 0.3e12),
    "rtx4090": Ceiling("NVIDIA GeForce RTX 4090", 165e12, 1.01e12),
}
"""Dense bfloat16 with float32 accumulation, from the vendor's datasheets; measured rates are lower."""


@dataclass(frozen=True, slots=True)
class Bound:
    """Minimum time of one batch.

    Attributes:
        batch: images at once.
        flops: of the published network.
        folded_flops: of the folded graph, which the times are computed from.
        bytes: minimum traffic to and from memory.
        compute_seconds: `folded_flops` at the peak matrix rate.
        memory_seconds: `bytes` at the peak bandwidth.
    """

    batch: int
    flops: int
    folded_flops: int
    bytes: int
    compute_seconds: float
    memory_seconds: float

    @property
    def seconds(self) -> float:
        return max(self.compute_seconds, self.memory_seconds)

    @property
    def images_per_second(self) -> float:
        return self.batch / self.seconds


def bound(config: Config, batch: int, ceiling: Ceiling, *, itemsize: int = 2) -> Bound:
    """Minimum time of the folded graph.

    Args:
        batch: images at once.
        itemsize: bytes of a weight.
    """
    folded = 2 * folded_macs(config) * batch
    size = itemsize * costs.parameters(config) + batch * (3 * config.image_size**2 + itemsize * config.num_classes)
    return Bound(
        batch=batch,
        flops=2 * costs.macs(config) * batch,
        folded_flops=folded,
        bytes=size,
        compute_seconds=folded / ceiling.flops_per_second,
        memory_seconds=size / ceiling.bytes_per_second,
    )


def folded_macs(config: Config) -> int:
    """Multiply-accumulates of the folded graph: the last block computes the pooled rows only, K and V absorbed."""
    if isinstance(config, ViTConfig) and (config.pooling != "token" or config.qk_norm):
        return costs.macs(config)
    rows = 1 + (isinstance(config, ViTConfig) and config.distillation_token)
    dim, tokens = config.dim, config.tokens
    hidden = config.mlp_dim
    if isinstance(config, ViTConfig) and config.feedforward == "swiglu":
        hidden //= 2
    full_block = tokens * dim * (4 * dim + config.mlp_dim + hidden) + 2 * tokens**2 * dim
    absorbed = rows * (4 * dim * dim + 2 * config.heads * tokens * dim + dim * (config.mlp_dim + hidden))
    return costs.macs(config) - full_block + absorbed


def ceiling_of(gpu: str) -> Ceiling:
    """Peak rates from a GPU's datasheet.

    Raises:
        ValueError: no datasheet is known for this GPU.
    """
    if gpu.lower() not in DATASHEETS:
        raise ValueError(f"no datasheet for {gpu!r}; known GPUs are {', '.join(DATASHEETS)}")
    return DATASHEETS[gpu.lower()]


def config_of(architecture: str) -> Config:
    """Configuration of an architecture by its name.

    Raises:
        ValueError: unknown architecture.
    """
    config = find_variant(architecture)
    if config is None:
        raise ValueError(f"unknown architecture {architecture!r}; `tessella models` lists them")
    return config


def table(architecture: str, batches: tuple[int, ...], ceiling: Ceiling) -> "Table":
    """Bounds of a network at several batch sizes, for the terminal."""
    from rich.table import Table

    source = "measured" if ceiling.measured else "datasheet"
    result = Table("batch", "GFLOP", "folded GFLOP", "compute µs", "memory µs", "max images/s", title=None)
    result.caption = f"{architecture} on {ceiling.name} ({source}): roofline bound"
    for batch in batches:
        limit = bound(config_of(architecture), batch, ceiling)
        result.add_row(
            str(batch),
            f"{limit.flops / 1e9:.1f}",
            f"{limit.folded_flops / 1e9:.1f}",
            f"{limit.compute_seconds * 1e6:.1f}",
            f"{limit.memory_seconds * 1e6:.1f}",
            f"{limit.images_per_second:,.0f}",
        )
    return result
