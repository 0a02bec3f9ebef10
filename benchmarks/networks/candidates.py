"""The ways to get from uint8 pixels to logits that are compared: timm's network and ours, by engine and dtype."""

import copy
import shutil
import warnings
from collections.abc import Callable, Collection, Iterable
from typing import cast

import torch
from torch import Tensor, nn

from ...models.checkpoints.convert import translate
from ...models.checkpoints.description import Description
from ...models.execution.cuda_graphs import Forward
from ...models.execution.executor import make_executor
from ...models.networks.build import NormalizedNetwork, build
from ...models.networks.tnt import TNT
from ...models.networks.vit import ViT
from ...models.packages import installed
from ...models.preprocessing.preprocess import Preprocessing
from ...models.variants import VARIANTS
from .. import timm_import  # noqa: F401
from ..report import dtype_name

MEAN = STD = (0.5, 0.5, 0.5)
ENGINES = ("eager", "compiled", "folded", "onnxruntime", "openvino")
"""`eager` and `compiled` run the network as published, `folded` ours in PyTorch, the rest exported files."""


def make_candidates(
    architecture: str, dtypes: Iterable[torch.dtype], device: str, engines: Collection[str] = ()
) -> dict[str, Forward]:
    """Functions from uint8 (B, H, W, 3) to float32 logits (B, 1000), all with the same random weights.

    Args:
        architecture: a name of timm's that is also one of ours.
        engines: of `ENGINES`; default: all that are installed, on a GPU without the last two. `eager` always runs:
            it is what the others are compared with.

    Raises:
        ValueError: another name.
    """
    if unknown := set(engines) - set(ENGINES):
        raise ValueError(f"engine {min(unknown)!r} is not one of {', '.join(ENGINES)}")
    chosen = {"eager", *(engines or _available(device))}
    theirs, ours = networks(architecture)
    made: dict[str, Forward] = {}
    kinds = tuple(dtypes)
    for dtype in kinds:
        made |= _torch_candidates(theirs, ours, dtype, device)
    if "compiled" in chosen:  # minutes for each dtype: only in the last one, which is the quickest
        name = dtype_name(kinds[-1])
        made[f"timm compiled {name}"] = _compiled(theirs, kinds[-1], device)
    if chosen & {"onnxruntime", "openvino"}:
        from .runtimes import runtime_candidates

        made |= runtime_candidates(theirs, ours, _described(architecture, ours), kinds)
    return {name: candidate for name, candidate in made.items() if engine_of(name) in chosen}


def engine_of(candidate: str) -> str:
    """`timm openvino-apart float32` -> `openvino`."""
    return candidate.split()[1].partition("-")[0]


def _available(device: str) -> set[str]:
    if device != "cpu":
        return {"eager", "compiled", "folded"}
    absent = {name for name in ("onnxruntime", "openvino") if not installed(name)}
    if not (shutil.which("g++") or shutil.which("clang++")):
        absent.add("compiled")  # torch.compile needs a C++ compiler for a CPU
    return set(ENGINES) - absent


def _described(architecture: str, network: ViT | TNT) -> Description:
    recipe = Preprocessing(size=network.config.image_size, resize=network.config.image_size)
    labels = tuple(map(str, range(network.config.num_classes)))
    return Description(name=architecture, config=network.config, preprocessing=recipe, labels=labels)


def _torch_candidates(theirs: nn.Module, ours: ViT | TNT, dtype: torch.dtype, device: str) -> dict[str, Forward]:
    name = dtype_name(dtype)
    made = {f"timm eager {name}": _eager(theirs, dtype, device)}
    folded = make_executor(ours, MEAN, STD, dtype=dtype, device=torch.device(device))
    if folded is not None:
        made[f"tessella folded {name}"] = _float_logits(folded)
    return made


def networks(architecture: str) -> tuple[nn.Module, ViT | TNT]:
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


def _eager(network: nn.Module, dtype: torch.dtype, device: str) -> Forward:
    return _float_logits(NormalizedNetwork(copy.deepcopy(network).to(device=device, dtype=dtype), MEAN, STD))


def _compiled(network: nn.Module, dtype: torch.dtype, device: str) -> Forward:
    """Compiled anew for each batch size, when it is first called with it."""
    with warnings.catch_warnings(action="ignore"):
        quick = torch.compile(copy.deepcopy(network).to(device=device, dtype=dtype), dynamic=False)
    run = _float_logits(NormalizedNetwork(cast(nn.Module, quick), MEAN, STD))

    def run_quietly(pixels: Tensor) -> Tensor:
        with warnings.catch_warnings(action="ignore"):
            return run(pixels)

    return run_quietly


def _float_logits(network: Callable[[Tensor], Tensor]) -> Forward:
    @torch.inference_mode()
    def run(pixels: Tensor) -> Tensor:
        return network(pixels).float()

    return run
