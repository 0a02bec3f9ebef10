"""Models by name: a source in, a network, a classifier or a description out. Imports without torch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from .checkpoint import Description, read_description
from .errors import CheckpointError
from .sources import Source, locate
from .sources import shipped as shipped

if TYPE_CHECKING:  # a server process without torch reads descriptions through this module
    from .classifier import Classifier, Network

BACKENDS = ("torch",)


def load_model(
    source: str,
    *,
    device: str = "cpu",
    dtype: str = "auto",
    backend: str = "auto",
    architecture: str | None = None,
    image_size: int | None = None,
) -> Classifier:
    """A classifier, ready on its device.

    Args:
        source: a shipped checkpoint's name, a path, or `name=source` to serve it under another name.
        device: `cpu`, `cuda`, `cuda:0`, …, or `auto`: the first GPU where there is one.
        dtype: `auto`, `float32`, `bfloat16` or `float16`.
        backend: `auto` or `torch`.
        architecture: a timm name, needed only where the checkpoint does not say what it is.
        image_size: of the square the network sees, in pixels; the checkpoint's own by default.

    Raises:
        ModelNotFoundError: nothing lies there.
        CheckpointError: what lies there cannot be served.
        ValueError: an unknown device, dtype or backend.
    """
    import torch

    from .classifier import Classifier
    from .precision import choose_dtype

    if backend not in ("auto", *BACKENDS):
        raise ValueError(f"backend {backend!r} is not one of auto, {', '.join(BACKENDS)}")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    place = torch.device(device)
    network, description = _load(locate(source), architecture, image_size)
    chosen, reason = choose_dtype(dtype, network, description.config.image_size, place)
    return Classifier(network, description, device=place, dtype=chosen, choice=f"plain PyTorch on {place}; {reason}.")


def load_network(source: str, architecture: str | None = None, image_size: int | None = None) -> Network:
    """The plain network: evaluation mode, float32, on the CPU. Arguments and errors as `load_model`."""
    return _load(locate(source), architecture, image_size)[0]


def describe(source: str, *, architecture: str | None = None, image_size: int | None = None) -> Description:
    """What `load_model` would serve: configuration, preprocessing and labels. Arguments and errors as `load_model`."""
    return _describe(locate(source))


def _describe(source: Source) -> Description:
    description = read_description(source.weights)
    if description is None:
        raise CheckpointError(f"{source.weights} is not one of tessella's own checkpoints")
    return replace(description, name=source.name)


def _load(source: Source, architecture: str | None, image_size: int | None) -> tuple[Network, Description]:
    from safetensors.torch import load_file

    from .networks import build

    description = _describe(source)
    network = build(description.config)
    network.load_state_dict(load_file(source.weights))
    return network.eval(), description
