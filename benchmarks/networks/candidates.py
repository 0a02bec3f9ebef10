"""Candidates of the network benchmark, uint8 pixels to logits: networks of timm and tessella, by engine and dtype."""

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
"""`eager` and `compiled` run the published network, `folded` its folded graph in PyTorch, the others exported files."""


def make_candidates(
    architecture: str, dtypes: Iterable[torch.dtype], device: str, engines: Collection[str] = ()
) -> dict[str, Forward]:
    """Forward passes from uint8 (B, H, W, 3) to float32 logits (B, 1000), all with the same random weights.

    Args:
        architecture: name in timm that tessella supports too.
        engines: of `ENGINES`; default: all that are installed, on a GPU without the last two. `eager` always runs,
            as the reference.

    Raises:
        ValueError: unknown architecture or engine.
    """
    if unknown := set(engines) - set(ENGINES):
        raise ValueError(f"engine {min(unknown)!r} is not one of {', '.join(ENGINES)}")
    selected = {"eager", *(engines or _available_engines(device))}
    timm_network, network = networks(architecture)
    candidates: dict[str, Forward] = {}
    dtypes = tuple(dtypes)
    for dtype in dtypes:
        candidates |= _torch_candidates(timm_network, network, dtype, device)
    if "compiled" in selected:  # takes minutes per dtype: only the last one, which is the fastest
        name = dtype_name(dtypes[-1])
        candidates[f"timm compiled {name}"] = _compiled(timm_network, dtypes[-1], device)
    if selected & {"onnxruntime", "openvino"}:
        from .runtimes import runtime_candidates

        candidates |= runtime_candidates(timm_network, network, _describe(architecture, network), dtypes)
    return {name: candidate for name, candidate in candidates.items() if engine_of(name) in selected}


def engine_of(candidate: str) -> str:
    """Engine in a candidate's name: `timm openvino-streams float32` -> `openvino`."""
    return candidate.split()[1].partition("-")[0]


def _available_engines(device: str) -> set[str]:
    if device != "cpu":
        return {"eager", "compiled", "folded"}
    missing = {name for name in ("onnxruntime", "openvino") if not installed(name)}
    if not (shutil.which("g++") or shutil.which("clang++")):
        missing.add("compiled")  # torch.compile needs a C++ compiler on a CPU
    return set(ENGINES) - missing


def _describe(architecture: str, network: ViT | TNT) -> Description:
    preprocessing = Preprocessing(size=network.config.image_size, resize=network.config.image_size)
    labels = tuple(map(str, range(network.config.num_classes)))
    return Description(name=architecture, config=network.config, preprocessing=preprocessing, labels=labels)


def _torch_candidates(
    timm_network: nn.Module, network: ViT | TNT, dtype: torch.dtype, device: str
) -> dict[str, Forward]:
    name = dtype_name(dtype)
    candidates = {f"timm eager {name}": _eager(timm_network, dtype, device)}
    folded = make_executor(network, MEAN, STD, dtype=dtype, device=torch.device(device))
    if folded is not None:
        candidates[f"tessella folded {name}"] = _float_logits(folded)
    return candidates


def networks(architecture: str) -> tuple[nn.Module, ViT | TNT]:
    """Network of timm and tessella's with the same random weights.

    Raises:
        ValueError: unknown architecture.
    """
    import timm

    if architecture not in VARIANTS:
        raise ValueError(f"unknown architecture {architecture!r}; `tessella models` lists them")
    torch.manual_seed(0)
    timm_network = timm.create_model(architecture).eval()
    for parameter in timm_network.parameters():  # initial biases are 0 and norms 1, which would hide errors
        if parameter.ndim == 1:
            parameter.data += 0.1 * torch.randn_like(parameter)
    network = build(VARIANTS[architecture]).eval()
    network.load_state_dict(translate(timm_network.state_dict(), VARIANTS[architecture]))
    return timm_network, network


def _eager(network: nn.Module, dtype: torch.dtype, device: str) -> Forward:
    return _float_logits(NormalizedNetwork(copy.deepcopy(network).to(device=device, dtype=dtype), MEAN, STD))


def _compiled(network: nn.Module, dtype: torch.dtype, device: str) -> Forward:
    """Forward pass through `torch.compile`, which compiles on the first call with each batch size."""
    with warnings.catch_warnings(action="ignore"):
        compiled = torch.compile(copy.deepcopy(network).to(device=device, dtype=dtype), dynamic=False)
    run = _float_logits(NormalizedNetwork(cast(nn.Module, compiled), MEAN, STD))

    def run_quietly(pixels: Tensor) -> Tensor:
        with warnings.catch_warnings(action="ignore"):
            return run(pixels)

    return run_quietly


def _float_logits(network: Callable[[Tensor], Tensor]) -> Forward:
    @torch.inference_mode()
    def run(pixels: Tensor) -> Tensor:
        return network(pixels).float()

    return run
