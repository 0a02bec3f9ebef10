"""Random checkpoint that every server of a comparison loads: same weights, same preprocessing, same predictions."""

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
_PREPROCESSING_KEYS = ("input_size", "mean", "std", "interpolation", "crop_pct", "crop_mode")


def save_random_checkpoint(architecture: str, folder: Path, photos: Sequence[Photo], **options: Any) -> Path:
    """Write `model.safetensors` and timm's `config.json` to a new folder, and return the folder.

    Args:
        architecture: name in timm that tessella supports too.
        photos: at least two, for which the network predicts different classes.
        options: of timm's `create_model`, such as `depth`, that can be inferred from the shapes of the tensors.

    Raises:
        ValueError: unknown architecture.
    """
    import timm

    if not timm.is_model(architecture):
        raise ValueError(f"unknown architecture {architecture!r}; `tessella models` lists them")
    torch.manual_seed(0)
    network = timm.create_model(architecture, **options).eval()
    for parameter in network.parameters():  # initial biases are 0 and norms 1, which would hide errors
        if parameter.ndim == 1:
            parameter.data += 0.1 * torch.randn_like(parameter)
    _separate_logits(network, photos)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: tensor.contiguous() for name, tensor in network.state_dict().items()}, folder / "model.safetensors"
    )
    (folder / "config.json").write_text(json.dumps(_config(architecture, network)))
    return folder


@torch.inference_mode()
def _separate_logits(network: Any, photos: Sequence[Photo]) -> None:
    """Shift and scale the heads so that logits differ between photographs: initially all images get the same class."""
    from timm.data import create_transform, resolve_data_config

    transform = create_transform(**resolve_data_config({}, model=network), is_training=False)
    logits = network(torch.stack([transform(Image.open(io.BytesIO(photo.data))) for photo in photos]))
    scale = LOGIT_SPREAD / (logits - logits.mean(0)).std()
    for head in _heads(network):
        head.bias.data.sub_(logits.mean(0)).mul_(scale)
        head.weight.data.mul_(scale)


def _heads(network: Any) -> list[nn.Linear]:
    classifier = network.get_classifier()
    heads = classifier if isinstance(classifier, tuple) else (classifier,)
    return [head for head in heads if isinstance(head, nn.Linear)]


def _config(architecture: str, network: Any) -> dict[str, Any]:
    config: Any = network.pretrained_cfg
    return {
        "architecture": architecture,
        "num_classes": network.num_classes,
        "pretrained_cfg": {key: config[key] for key in _PREPROCESSING_KEYS if config.get(key) is not None},
    }
