"""Values behind the figures, as a JSON document. Layers and heads are listed in order and counted from 1."""

from typing import Any

import torch
from torch import Tensor

from ..explain.attention_maps import uniform_distance
from ..explain.receptive_field import receptive_fields, resnet_blocks
from .rows import array, top_channels
from .subject import View

DECIMALS = 7


def numbers(view: View, method: str, layer: int | None) -> dict[str, Any]:
    """JSON document of a view: model, image, prediction and sizes, and the method's values under its name."""
    config = view.subject.network.config
    document = {
        "model": view.subject.name,
        "image": view.title,
        "prediction": view.prediction,
        "image_px": config.image_size,
        "patch_px": config.patch_size,
        "grid": [config.grid, config.grid],
    }
    methods = ("attention", "rollout", "distance") if method == "sheet" else (method,)
    return document | {name: _VALUES[name](view, layer) for name in methods if name in _VALUES}


def _attention(view: View, layer: int | None) -> dict[str, Any]:
    """Attention maps (layers, heads, rows, columns); of a TNT, those of its inner tokens too."""
    inner = view.explanation.inner
    values = {"layers": _numbers(view, layer), "values": _listed(_layers(view.explanation.attention, layer))}
    return values | ({"inner_tokens": _listed(_layers(inner.attention, layer))} if inner else {})


def _rollout(view: View, layer: int | None) -> dict[str, Any]:
    """Attention rollout (layers, rows, columns)."""
    return {"layers": _numbers(view, layer), "values": _listed(_layers(view.explanation.rollout, layer))}


def _distance(view: View, layer: int | None) -> dict[str, Any]:
    """Mean attention distance (layers, heads) and its references, in pixels."""
    config, inner = view.subject.network.config, view.explanation.inner
    return {
        "mean_px": _listed(view.explanation.distance),
        "uniform_px": round(uniform_distance(config.grid, config.patch_size), DECIMALS),
        "resnet50_receptive_field_px": receptive_fields(resnet_blocks())[: view.depth],
    } | ({"inner_mean_px": _listed(inner.distance)} if inner else {})


def _features(view: View, layer: int | None) -> dict[str, Any]:
    """Feature maps of the channels with the largest variance, by layer, with the channels' numbers."""
    explanation, inner = view.explanation, view.explanation.inner
    kinds = {"patches": explanation.features} | ({"inner_tokens": inner.features} if inner else {})
    document: dict[str, Any] = {"layers": _numbers(view, layer)}
    for kind, maps in kinds.items():
        layers = [(features, top_channels(array(features))) for features in _layers(maps, layer)]
        document[kind] = [{"channels": [c + 1 for c in top], "values": _listed(maps[top])} for maps, top in layers]
    return document


def _layers(values: Tensor, layer: int | None) -> Tensor:
    return values if layer is None else values[layer - 1 : layer]


def _numbers(view: View, layer: int | None) -> list[int]:
    return [layer] if layer else list(range(1, view.depth + 1))


def _listed(values: Tensor) -> Any:
    return torch.round(values.double(), decimals=DECIMALS).tolist()


_VALUES = {"attention": _attention, "rollout": _rollout, "distance": _distance, "features": _features}
