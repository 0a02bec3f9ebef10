"""The ways to get from uint8 pixels to logits that are compared: timm's network and ours, in each dtype."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from ..kernels.reference import normalise
from ..models.networks import build
from ..models.variants import VARIANTS
from ..models.weights import translate
from . import timm_import  # noqa: F401

Candidate = Callable[[Tensor], Tensor]
MEAN = STD = torch.tensor([0.5, 0.5, 0.5])


def make_candidates(architecture: str, dtypes: Iterable[torch.dtype], device: str) -> dict[str, Candidate]:
    """Functions from uint8 (B, H, W, 3) to float32 logits (B, 1000), all with the same random weights.

    Args:
        architecture: a name of timm's that is also one of ours.

    Raises:
        ValueError: another name.
    """
    theirs, ours = _networks(architecture)
    made: dict[str, Candidate] = {}
    for dtype in dtypes:
        for name, network in (("timm", theirs), ("tessella", ours)):
            made[f"{name} eager {str(dtype).removeprefix('torch.')}"] = _eager(network, dtype, device)
    return made


def _networks(architecture: str) -> tuple[nn.Module, nn.Module]:
    import timm

    if architecture not in VARIANTS:
        raise ValueError(f"unknown architecture {architecture!r}; `tessella models` lists them")
    torch.manual_seed(0)
    theirs = timm.create_model(architecture).eval()
    for parameter in theirs.parameters():  # fresh biases are zero and fresh norms one: nothing may hide there
        if parameter.ndim == 1:
            parameter.data += 0.1 * torch.randn_like(parameter)
    ours = build(VARIANTS[architecture]).eval()
    ours.load_state_dict(translate(theirs.state_dict(), VARIANTS[architecture]))
    return theirs, ours


def _eager(network: nn.Module, dtype: torch.dtype, device: str) -> Candidate:
    import copy

    network = copy.deepcopy(network).to(device=device, dtype=dtype)
    mean, std = MEAN.to(device), STD.to(device)

    @torch.inference_mode()
    def run(pixels: Tensor) -> Tensor:
        logits: Tensor = network(normalise(pixels, mean, std, dtype))
        return logits.float()

    return run
