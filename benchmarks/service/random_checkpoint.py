"""A checkpoint of random weights that every server of a comparison loads: one file, one recipe, the same answers."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from .. import timm_import  # noqa: F401
from ..photos import Photo

LOGIT_SPREAD = 3.0
_RECIPE = ("input_size", "mean", "std", "interpolation", "crop_pct", "crop_mode")


def save_random_checkpoint(architecture: str, folder: Path, photos: Sequence[Photo], **options: Any) -> Path:
    """Writes `model.safetensors` and timm's `config.json` into a folder, which is made, and returns it.

    Args:
        architecture: a name of timm's that is also one of ours.
        photos: at least two, which get different answers.
        options: timm's, such as `depth`; the tensors must show them.

    Raises:
        ValueError: timm knows no such name.
    """
    import timm

    if not timm.is_model(architecture):
        raise ValueError(f"unknown architecture {architecture!r}; `tessella models` lists them")
    torch.manual_seed(0)
    network = timm.create_model(architecture, **options).eval()
    for parameter in network.parameters():  # fresh biases are zero and fresh norms one: nothing may hide there
        if parameter.ndim == 1:
            parameter.data += 0.1 * torch.randn_like(parameter)
    _tell_apart(network, photos)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: tensor.contiguous() for name, tensor in network.state_dict().items()}, folder / "model.safetensors"
    )
    (folder / "config.json").write_text(json.dumps(_config(architecture, network)))
    return folder


@torch.inference_mode()
def _tell_apart(network: Any, photos: Sequence[Photo]) -> None:
    """Moves the heads to what differs between the photographs: fresh, they would give every image the same answer."""
    from timm.data import create_transform, resolve_data_config

    transform = create_transform(**resolve_data_config({}, model=network), is_training=False)
    logits = network(torch.stack([transform(Image.open(io.BytesIO(photo.data))) for photo in photos]))
    scale = LOGIT_SPREAD / (logits - logits.mean(0)).std()
    for head in _heads(network):
        head.bias.data.sub_(logits.mean(0)).mul_(scale)
        head.weight.data.mul_(scale)


def _heads(network: Any) -> list[nn.Linear]:
    found = network.get_classifier()
    heads = found if isinstance(found, tuple) else (found,)
    return [head for head in heads if isinstance(head, nn.Linear)]


def _config(architecture: str, network: Any) -> dict[str, Any]:
    recipe: Any = network.pretrained_cfg
    return {
        "architecture": architecture,
        "num_classes": network.num_classes,
        "pretrained_cfg": {key: recipe[key] for key in _RECIPE if recipe.get(key) is not None},
    }
