"""How a network that was loaded runs: folded where its family has a folded graph here, as published otherwise."""

from collections.abc import Sequence

import torch

from ..kernels.options import DEFAULT, Options
from .fold import CPU_STEPS, EVERY_STEP
from .fold_tnt import fold_tnt
from .fused import FusedViT
from .fused_tnt import FusedTNT
from .tnt import TNT
from .vit import ViT


def fused(
    network: ViT | TNT,
    mean: Sequence[float],
    std: Sequence[float],
    *,
    dtype: torch.dtype,
    device: torch.device,
    options: Options = DEFAULT,
) -> FusedViT | None:
    """The folded network on its device, with the savings that pay there; None where the published one is to run.

    Args:
        network: not changed.
        mean, std: of the three channels, in units of the pixel range 0..1.
        dtype: of the matrices.
    """
    if not isinstance(network, TNT):
        return None
    steps = EVERY_STEP if device.type == "cuda" else CPU_STEPS
    return FusedTNT(fold_tnt(network, mean, std, steps, dtype=dtype, device=device), options)
