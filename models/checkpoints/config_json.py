"""Checkpoint config: the network settings that `config.json` beside a checkpoint gives. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, TypeVar

from ..config import Config, Feedforward, Pooling, ViTConfig
from ..errors import CheckpointError
from ..types import Document
from ..variants import VARIANTS, find_variant

T = TypeVar("T")

HUGGING_FACE_MODELS = ("vit", "deit", "dinov2", "dinov2_with_registers", "vit_msn")
_ACTIVATIONS: dict[str, Feedforward] = {"gelu": "gelu", "quick_gelu": "quick_gelu"}
_UNSUPPORTED = ("norm_layer", "block_fn", "attn_layer", "embed_layer", "mlp_layer", "pool_include_prefix")
_POOLINGS: dict[str, Pooling] = {"token": "token", "avg": "mean"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointConfig:
    """Settings that tensors do not show; None where they are not given.

    Attributes:
        origin: the source of the settings, for messages.
        pooling: as the document states it; that of a named architecture is in `architecture`.
        image_size: side of the network's input in pixels.
        any_image_size: the network takes images of any size, whatever its position table (timm's `dynamic_img_size`).
        expected: fields of the network configuration that tensors do show, to be checked against them.
    """

    origin: str = "any config.json"
    architecture: Config | None = None
    heads: int | None = None
    norm_eps: float | None = None
    feedforward: Feedforward | None = None
    pooling: Pooling | None = None
    image_size: int | None = None
    any_image_size: bool = False
    expected: Mapping[str, int] = field(default_factory=dict)


def read_checkpoint_config(document: Document | None, architecture: str | None = None) -> CheckpointConfig:
    """Settings in a Hugging Face or timm `config.json`, or of a timm architecture, which overrides the document.

    Raises:
        ValueError: `architecture` is not a known name.
        CheckpointError: the document describes a network that is not supported.
    """
    if architecture is not None:
        return _from_architecture(architecture, f"architecture={architecture!r}")
    if document is None:
        return CheckpointConfig()
    if "model_type" in document:
        return _from_hugging_face(document)
    if "architecture" in document:
        return _from_timm(document)
    return CheckpointConfig(origin="config.json, which has neither `model_type` nor `architecture`")


def _from_architecture(name: str, origin: str) -> CheckpointConfig:
    config = find_variant(name)
    if config is None:
        similar = get_close_matches(name.partition(".")[0], VARIANTS, n=3)
        hint = f"; similar names: {', '.join(similar)}" if similar else ""
        raise ValueError(f"{origin} is not a known architecture (`tessella models` lists {len(VARIANTS)}){hint}")
    return CheckpointConfig(
        origin=origin,
        architecture=config,
        heads=config.heads,
        norm_eps=config.norm_eps,
        feedforward=config.feedforward if isinstance(config, ViTConfig) else None,
        expected={"dim": config.dim},
    )


def _from_hugging_face(document: Document) -> CheckpointConfig:
    model_type = document["model_type"]
    if model_type not in HUGGING_FACE_MODELS:
        raise CheckpointError(
            f"config.json has model_type {model_type!r}; "
            f"supported: {', '.join(HUGGING_FACE_MODELS)}, and timm's ViT and TNT"
        )
    activation = "gelu" if document.get("use_swiglu_ffn") else document.get("hidden_act", "gelu")
    keys = {"dim": "hidden_size", "depth": "num_hidden_layers", "patch_size": "patch_size"}
    return CheckpointConfig(
        origin="config.json",
        heads=document.get("num_attention_heads", 12),
        norm_eps=document.get("layer_norm_eps"),
        feedforward=_lookup(_ACTIVATIONS, activation, "hidden_act"),
        image_size=document.get("image_size"),
        expected={ours: document[key] for ours, key in keys.items() if isinstance(document.get(key), int)},
    )


def _from_timm(document: Document) -> CheckpointConfig:
    try:
        named = _from_architecture(document["architecture"], f"config.json: architecture {document['architecture']!r}")
    except ValueError as error:
        raise CheckpointError(f"{error}; `architecture=` overrides it") from None
    arguments = document.get("model_args") or {}
    if unsupported := {key for key in _UNSUPPORTED if arguments.get(key)}:
        raise CheckpointError(f"config.json sets model_args that are not supported: {', '.join(sorted(unsupported))}")
    feedforward = named.feedforward
    if arguments.get("act_layer"):
        feedforward = _lookup(_ACTIVATIONS, arguments["act_layer"], "act_layer")
    pooling = document.get("global_pool") or arguments.get("global_pool")
    return CheckpointConfig(
        origin=named.origin,
        architecture=named.architecture,
        heads=arguments.get("num_heads", named.heads),
        norm_eps=named.norm_eps,
        feedforward=feedforward,
        pooling=_lookup(_POOLINGS, pooling, "global_pool") if pooling else None,
        image_size=_side(arguments.get("img_size")),
        any_image_size=bool(arguments.get("dynamic_img_size")),
        expected={} if "embed_dim" in arguments else named.expected,
    )


def _side(img_size: Any) -> int | None:
    """Side of a square `img_size`: a number, two equal ones, or None."""
    sides = img_size if isinstance(img_size, list) else [img_size]
    if len(set(map(str, sides))) != 1 or not isinstance(sides[0], int | None):
        raise CheckpointError(
            f"config.json has img_size {img_size!r}; expected one number of pixels, or two equal ones"
        )
    return sides[0]


def _lookup(table: Mapping[str, T], value: Any, key: str) -> T:
    if value not in table:
        raise CheckpointError(f"config.json has {key} {value!r}; supported: {', '.join(table)}")
    return table[value]
