"""What the `config.json` beside a checkpoint says of the network, in our words. Knows no torch and no tensors."""

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
_UNSERVED = ("norm_layer", "block_fn", "attn_layer", "embed_layer", "mlp_layer", "pool_include_prefix")
_POOLINGS: dict[str, Pooling] = {"token": "token", "avg": "mean"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointConfig:
    """What tensors do not show, as far as it was said; None where it was not. `origin`: who said it, for messages.

    `claims`: fields of the configuration that tensors do show, to be checked against them.
    """

    origin: str = "nothing beside the tensors"
    architecture: Config | None = None
    heads: int | None = None
    norm_eps: float | None = None
    feedforward: Feedforward | None = None
    pooling: Pooling | None = None
    image_size: int | None = None
    claims: Mapping[str, int] = field(default_factory=dict)


def read_checkpoint_config(document: Document | None, architecture: str | None = None) -> CheckpointConfig:
    """Reads a Hugging Face or timm `config.json`; `architecture`, a timm name, takes its place.

    Raises:
        ValueError: `architecture` is not a known name.
        CheckpointError: the document describes something that is not served here.
    """
    if architecture is not None:
        return _of_architecture(architecture, f"architecture={architecture!r}")
    if document is None:
        return CheckpointConfig()
    if "model_type" in document:
        return _of_hugging_face(document)
    if "architecture" in document:
        return _of_timm(document)
    return CheckpointConfig(origin="config.json, which names neither a `model_type` nor an `architecture`")


def _of_architecture(name: str, origin: str) -> CheckpointConfig:
    config = find_variant(name)
    if config is None:
        near = get_close_matches(name.partition(".")[0], VARIANTS, n=3)
        hint = f"; near it are {', '.join(near)}" if near else ""
        raise ValueError(f"{origin} is not an architecture known here (`tessella models` lists {len(VARIANTS)}){hint}")
    feedforward, pooling = (config.feedforward, config.pooling) if isinstance(config, ViTConfig) else (None, None)
    return CheckpointConfig(
        origin=origin,
        architecture=config,
        heads=config.heads,
        norm_eps=config.norm_eps,
        feedforward=feedforward,
        pooling=pooling,
        claims={"dim": config.dim},
    )


def _of_hugging_face(document: Document) -> CheckpointConfig:
    kind = document["model_type"]
    if kind not in HUGGING_FACE_MODELS:
        raise CheckpointError(
            f"config.json describes a {kind!r} model; served are {', '.join(HUGGING_FACE_MODELS)} and timm's ViT, TNT"
        )
    activation = "gelu" if document.get("use_swiglu_ffn") else document.get("hidden_act", "gelu")
    claims = {"dim": "hidden_size", "depth": "num_hidden_layers", "patch_size": "patch_size"}
    return CheckpointConfig(
        origin="config.json",
        heads=document.get("num_attention_heads", 12),
        norm_eps=document.get("layer_norm_eps"),
        feedforward=_known(_ACTIVATIONS, activation, "hidden_act"),
        image_size=document.get("image_size"),
        claims={ours: document[theirs] for ours, theirs in claims.items() if isinstance(document.get(theirs), int)},
    )


def _of_timm(document: Document) -> CheckpointConfig:
    try:
        named = _of_architecture(document["architecture"], f"config.json: architecture {document['architecture']!r}")
    except ValueError as error:
        raise CheckpointError(f"{error}; `architecture=` overrides it") from None
    arguments = document.get("model_args") or {}
    if unread := {key for key in _UNSERVED if arguments.get(key)}:
        raise CheckpointError(f"config.json changes the network by {', '.join(sorted(unread))}, which is not served")
    feedforward, pooling = named.feedforward, named.pooling
    if "act_layer" in arguments:
        feedforward = _known(_ACTIVATIONS, arguments["act_layer"], "act_layer")
    if document.get("global_pool"):
        pooling = _known(_POOLINGS, document["global_pool"], "global_pool")
    return CheckpointConfig(
        origin=named.origin,
        architecture=named.architecture,
        heads=arguments.get("num_heads", named.heads),
        norm_eps=named.norm_eps,
        feedforward=feedforward,
        pooling=pooling,
        claims={} if "embed_dim" in arguments else named.claims,
    )


def _known(table: Mapping[str, T], value: Any, key: str) -> T:
    if value not in table:
        raise CheckpointError(f"config.json says {key} {value!r}; served are {', '.join(table)}")
    return table[value]
