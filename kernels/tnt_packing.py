"""The inner blocks' weights as their kernel reads them: transposed, and padded to powers of two once, on the host."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .tnt_weights import InnerWeights, PackedInner
from .tuning import next_power_of_two

CHUNK = 32
"""Hidden channels that the kernel computes at a time."""


def pack(weights: InnerWeights) -> PackedInner:
    """These weights for the kernel."""
    heads, dim = weights.heads, weights.dim
    width = next_power_of_two(max(dim // heads, 8))
    count = max(next_power_of_two(heads), -(-16 // width))
    channels = next_power_of_two(max(dim, 16))
    hidden = -(-weights.expand.shape[1] // CHUNK) * CHUNK

    def by_head(x: Tensor) -> Tensor:  # (…, h · d) -> (…, E)
        own = x.unflatten(-1, (heads, -1))
        return F.pad(own, (0, width - own.shape[-1], 0, count - heads)).flatten(-2)

    qkv = torch.stack(weights.qkv.chunk(3, dim=1), dim=1).transpose(2, 3)  # (L, 3, D, h · d)
    return PackedInner(
        qkv=_padded(by_head(qkv), channels, count * width),
        query_bias=by_head(weights.query_bias).contiguous(),
        projection=_padded(by_head(weights.projection).transpose(1, 2), count * width, channels),
        projection_bias=_padded(weights.projection_bias, channels),
        expand=_padded(weights.expand.transpose(1, 2), channels, hidden),
        expand_bias=_padded(weights.expand_bias, hidden),
        contract=_padded(weights.contract.transpose(1, 2), hidden, channels),
        contract_bias=_padded(weights.contract_bias, channels),
        heads=count,
    )


def _padded(x: Tensor, *sizes: int) -> Tensor:
    """Zeros after the last dimensions, up to these sizes."""
    missing = [size - length for size, length in zip(sizes, x.shape[-len(sizes) :], strict=True)]
    return F.pad(x, [part for more in reversed(missing) for part in (0, more)]).contiguous()
