"""What the pictures show, as numbers for JSON. Layers and heads are counted from 1, and listed in order."""

from typing import Any

import torch
from torch import Tensor

from ..explain.attention_maps import uniform_distance
from ..explain.receptive_field import receptive_fields, resnet_blocks
from .rows import array, strongest
from .subject import View

DIGITS = 7


def numbers(view: View, method: str, layer: int | None) -> dict[str, Any]:
    """A document: `model`, `image`, `prediction`, `patch_px`, and under the method's name what it draws."""
    config = view.subject.network.config
    document = {
        "model": view.subject.name,
        "image": view.title,
        "prediction": view.prediction,
        "image_px": config.image_size,
        "patch_px": config.patch_size,
        "grid": [config.grid, config.grid],
    }
    wanted = ("attention", "rollout", "distance") if method == "sheet" else (method,)
    return document | {name: _PARTS[name](view, layer) for name in wanted if name in _PARTS}


def _attention(view: View, layer: int | None) -> dict[str, Any]:
    """(layers, heads, rows, columns)"""
    inner = view.explanation.inner
    words = {"words": _listed(_layers(inner.attention, layer))} if inner else {}
    return {"layers": _numbered(view, layer), "values": _listed(_layers(view.explanation.attention, layer)), **words}


def _rollout(view: View, layer: int | None) -> dict[str, Any]:
    """(layers, rows, columns)"""
    return {"layers": _numbered(view, layer), "values": _listed(_layers(view.explanation.rollout, layer))}


def _distance(view: View, layer: int | None) -> dict[str, Any]:
    """(layers, heads), in pixels; and what it is drawn beside."""
    config, inner = view.subject.network.config, view.explanation.inner
    return {
        "mean_px": _listed(view.explanation.distance),
        "uniform_px": round(uniform_distance(config.grid, config.patch_size), DIGITS),
        "resnet50_receptive_field_px": receptive_fields(resnet_blocks())[: view.depth],
    } | ({"words_mean_px": _listed(inner.distance)} if inner else {})


def _features(view: View, layer: int | None) -> dict[str, Any]:
    """The channels that vary most, by layer: which, and their maps."""
    explanation = view.explanation
    kinds = {"patches": explanation.features} | ({"words": explanation.inner.features} if explanation.inner else {})
    document: dict[str, Any] = {"layers": _numbered(view, layer)}
    for kind, maps in kinds.items():
        chosen = [(one, strongest(array(one))) for one in _layers(maps, layer)]
        document[kind] = [{"channels": [c + 1 for c in top], "values": _listed(one[top])} for one, top in chosen]
    return document


def _layers(values: Tensor, layer: int | None) -> Tensor:
    return values if layer is None else values[layer - 1 : layer]


def _numbered(view: View, layer: int | None) -> list[int]:
    return [layer] if layer else list(range(1, view.depth + 1))


def _listed(values: Tensor) -> Any:
    return torch.round(values.double(), decimals=DIGITS).tolist()


_PARTS = {"attention": _attention, "rollout": _rollout, "distance": _distance, "features": _features}
