"""Reference networks of timm and transformers with random weights, and checkpoint files in their layouts."""

import json
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tessella.benchmarks import timm_import  # noqa: F401

BIG = 1024
"""Minimum width in channels of a big network."""

N = TypeVar("N", bound=nn.Module)


def timm_network(name: str, **arguments: Any) -> nn.Module:
    """Network of timm with random parameters, in evaluation mode."""
    import timm

    network: nn.Module = timm.create_model(name, device="meta", **arguments)
    return randomise(network.to_empty(device="cpu"))


def randomise(network: N, seed: int = 0) -> N:
    """Randomise all parameters: weights scaled to keep activations near one, others far from their initial values."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim > 1 and name.endswith("weight"):
                parameter.copy_(noise * parameter[0].numel() ** -0.5)
            else:
                parameter.copy_(0.3 * noise + float(name.endswith(("weight", "gamma", "lambda1"))))
    return network.eval()


def write_timm(network: nn.Module, folder: Path) -> Path:
    """Write a folder as timm pushes it to the hub."""
    from timm.models._hub import save_for_hf

    save_for_hf(network, str(folder), safe_serialization=True)
    return folder


def write_weights(tensors: dict[str, Tensor], file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file)
    return file


def write_json(document: dict[str, Any], file: Path) -> Path:
    file.write_text(json.dumps(document), "utf-8")
    return file


def images(size: int, batch: int = 2) -> Tensor:
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(1))


def distance(ours: Tensor, theirs: Tensor) -> float:
    """Maximum absolute difference; shapes must agree."""
    assert ours.shape == theirs.shape, f"{tuple(ours.shape)} against {tuple(theirs.shape)}"
    assert theirs.std() > 0.01, "a constant reference proves nothing"
    return float((ours - theirs).abs().max())
