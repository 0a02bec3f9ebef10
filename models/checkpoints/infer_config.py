"""From the names and shapes of a checkpoint's tensors to the configuration of its network. Knows no torch."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from ..config import Config, Feedforward, Pooling, TNTConfig, ViTConfig
from ..errors import CheckpointError
from ..variants import VARIANTS
from .config_json import CheckpointConfig
from .key_maps import HUGGING_FACE_VIT, recognise

Shape = tuple[int, ...]
T = TypeVar("T")


class CheckpointShapes:
    """A checkpoint's shapes, what was said beside them, and the conclusions drawn so far.

    Args:
        foreign: name -> shape, as the checkpoint has them.

    Raises:
        CheckpointError: not a ViT, DeiT or TNT.
    """

    def __init__(self, foreign: Mapping[str, Shape], statement: CheckpointConfig) -> None:
        self.dialect = recognise(foreign)
        self.statement = statement
        self.conclusions: list[str] = []
        renamed = ((self.dialect.rename(name), shape) for name, shape in foreign.items())
        self.shapes = {name: shape for name, shape in renamed if name is not None}

    def has(self, name: str) -> bool:
        """Whether there is a tensor of this name, or the first part of one."""
        return name in self.shapes or f"{name}#0" in self.shapes

    def shape(self, name: str, dimensions: int) -> Shape:
        """The shape of a tensor that must be there; parts are stacked along their rows."""
        parts = [shape for key, shape in self.shapes.items() if name in (key, key.partition("#")[0])]
        if not parts:
            raise CheckpointError(f"no tensor for {name!r}: the checkpoint is incomplete, or of another architecture")
        if any(len(part) != dimensions for part in parts):
            raise CheckpointError(f"the tensor for {name!r} has shape {parts[0]}; expected {dimensions} dimensions")
        return (sum(part[0] for part in parts), *parts[0][1:])

    def depth(self) -> int:
        numbers = {int(found[1]) for key in self.shapes if (found := re.match(r"blocks\.(\d+)\.", key))}
        if missing := set(range(max(numbers, default=-1))) - numbers:
            raise CheckpointError(f"no tensors for block {min(missing)}, though there is a block {max(numbers)}")
        return len(numbers)

    def num_classes(self) -> int:
        return self.shape("head.weight", 2)[0] if self.has("head.weight") else 0

    def norm_eps(self, known: Mapping[str, Config]) -> float:
        said = self.statement.norm_eps
        if said is None or self.statement.architecture is not None:
            said = self.dialect.norm_eps or said
        return self.settle("LayerNorm epsilon", said, {name: config.norm_eps for name, config in known.items()})

    def settle(self, what: str, said: T | None, known: Mapping[str, T]) -> T:
        """What was said, or else the one value that all `known` architectures of this form share.

        Raises:
            CheckpointError: they differ, or there is none.
        """
        if said is not None:
            return said
        examples = {value: name for name, value in known.items()}
        if len(examples) == 1:
            (value,) = examples
            self.conclusions.append(f"{what} {value}, as in every known architecture of this form")
            return value
        options = ", ".join(f"{value} in {name}" for value, name in examples.items())
        found = f"known architectures of this form differ ({options})" if options else "no known architecture is alike"
        raise CheckpointError(
            f"the {what} does not show in tensors, {self.statement.origin} does not say it, and {found}"
            '; name the timm architecture: `architecture=`, or {"architecture": …} in a config.json beside the file'
        )


STRIDE = 4  # of TNT's convolution, in every published network


@dataclass(frozen=True, slots=True)
class Inferred:
    """A configuration, and in sentences what was concluded rather than read."""

    config: Config
    conclusions: tuple[str, ...]


def infer(foreign: Mapping[str, Shape], statement: CheckpointConfig) -> Inferred:
    """The configuration of the network that these tensors belong to, at the resolution of its position table.

    Args:
        foreign: name -> shape, as the checkpoint has them.
        statement: what was said beside the tensors.

    Raises:
        CheckpointError: not a ViT, DeiT or TNT; a tensor that shows the form is missing; or the number of heads, the
            activation or the LayerNorm epsilon neither stands anywhere nor follows from the known architectures.
    """
    evidence = CheckpointShapes(foreign, statement)
    try:
        config = _vit(evidence) if evidence.dialect.family == "vit" else _tnt(evidence)
    except CheckpointError:
        raise
    except ValueError as error:
        raise CheckpointError(f"the tensors do not make a network: {error}") from error
    for name, value in statement.claims.items():
        if getattr(config, name) != value:
            raise CheckpointError(f"{statement.origin} says {name} {value}, the tensors have {getattr(config, name)}")
    return Inferred(config, tuple(evidence.conclusions))


def _vit(evidence: CheckpointShapes) -> ViTConfig:
    dim, patch_size = _patches(evidence)
    mlp_dim, gated = _mlp(evidence, "blocks.0.mlp")
    class_token, distillation_token, register_tokens = _prefix(evidence)
    pre_norm, qk_norm = evidence.has("input_norm.weight"), evidence.has("blocks.0.attention.query_norm.weight")
    pooling = _pooling(evidence, dim, class_token=class_token, distillation_token=distillation_token)
    position, image_size, position_prefix = _positions(
        evidence, patch_size, class_token, class_token + distillation_token + register_tokens
    )
    known = _alike(dim, mlp_dim, class_token=class_token, pre_norm=pre_norm, gated=gated)
    return ViTConfig(
        image_size=image_size,
        patch_size=patch_size,
        dim=dim,
        depth=evidence.depth(),
        heads=_heads(evidence, dim, known, qk_norm=qk_norm),
        mlp_dim=mlp_dim,
        feedforward="swiglu" if gated else _activation(evidence, known),
        num_classes=evidence.num_classes(),
        position="learned" if position else "none",
        position_prefix=position_prefix,
        class_token=class_token,
        distillation_token=distillation_token,
        register_tokens=register_tokens,
        pooling=pooling,
        norm_after_pooling=pooling == "mean" and evidence.has("pooled_norm.weight"),
        patch_bias=evidence.has("patch_embedding.projection.bias"),
        pre_norm=pre_norm,
        qkv_bias=evidence.has("blocks.0.attention.qkv.bias"),
        qk_norm=qk_norm,
        layer_scale=evidence.has("blocks.0.attention_scale.factor"),
        norm_eps=evidence.norm_eps(known),
    )


def _prefix(evidence: CheckpointShapes) -> tuple[bool, bool, int]:
    """Whether there are a class and a distillation token, and the number of registers.

    A distillation token that nothing reads is a register: Hugging Face's DeiT without a teacher's head.
    """
    class_token, distillation_token = evidence.has("prefix#0"), evidence.has("prefix#1")
    register_tokens = evidence.shape("prefix#2", 3)[1] if evidence.has("prefix#2") else 0
    if distillation_token and evidence.dialect is HUGGING_FACE_VIT and not evidence.has("distillation_head.weight"):
        return class_token, False, register_tokens + 1
    return class_token, distillation_token, register_tokens


def _patches(evidence: CheckpointShapes) -> tuple[int, int]:
    dim, colours, height, width = evidence.shape("patch_embedding.projection.weight", 4)
    if colours != 3 or height != width:
        raise CheckpointError(f"a patch has {height}×{width} pixels of {colours} channels; served are squares of 3")
    return dim, height


def _mlp(evidence: CheckpointShapes, name: str) -> tuple[int, bool]:
    """Width of the hidden layer (both halves where it is gated), and whether it is gated."""
    mlp_dim = evidence.shape(f"{name}.expand.weight", 2)[0]
    return mlp_dim, 2 * evidence.shape(f"{name}.contract.weight", 2)[1] == mlp_dim


def _pooling(evidence: CheckpointShapes, dim: int, *, class_token: bool, distillation_token: bool) -> Pooling:
    if distillation_token:
        return "token"
    if evidence.num_classes() and evidence.shape("head.weight", 2)[1] == 2 * dim:
        return "token_mean"
    if evidence.statement.pooling is not None:
        return evidence.statement.pooling
    return "mean" if not class_token or evidence.has("pooled_norm.weight") else "token"


def _positions(evidence: CheckpointShapes, patch_size: int, class_token: bool, prefix: int) -> tuple[bool, int, bool]:
    """Whether there is a position table, the image size it is for, and whether it covers all prefix tokens."""
    if not evidence.has("position_embedding.weight"):
        size = evidence.statement.image_size or getattr(evidence.statement.architecture, "image_size", None)
        return False, evidence.settle("image size (there is no position table)", size, {}), False
    rows = evidence.shape("position_embedding.weight", 3)[1]
    covered = {count for count in (0, int(class_token), prefix) if _is_square(rows - count)}
    if len(covered) != 1:
        raise CheckpointError(f"a position table of {rows} rows is no square grid beside {prefix} prefix tokens")
    (count,) = covered
    return True, math.isqrt(rows - count) * patch_size, count == prefix > 0


def _is_square(number: int) -> bool:
    return number > 0 and math.isqrt(number) ** 2 == number


def _alike(dim: int, mlp_dim: int, *, class_token: bool, pre_norm: bool, gated: bool) -> dict[str, ViTConfig]:
    """The known ViTs of this form, by name: they are asked for what tensors do not show."""
    form = (dim, mlp_dim, class_token, pre_norm, gated)
    return {
        name: known
        for name, known in VARIANTS.items()
        if isinstance(known, ViTConfig)
        and form == (known.dim, known.mlp_dim, known.class_token, known.pre_norm, known.feedforward == "swiglu")
    }


def _heads(evidence: CheckpointShapes, dim: int, known: Mapping[str, ViTConfig], *, qk_norm: bool) -> int:
    if qk_norm:
        return dim // evidence.shape("blocks.0.attention.query_norm.weight", 1)[0]
    heads = {name: config.heads for name, config in known.items()}
    return evidence.settle("number of heads", evidence.statement.heads, heads)


def _activation(evidence: CheckpointShapes, known: Mapping[str, ViTConfig]) -> Feedforward:
    activations = {name: config.feedforward for name, config in known.items()}
    return evidence.settle("activation", evidence.statement.feedforward, activations)


def _tnt(evidence: CheckpointShapes) -> TNTConfig:
    inner_dim, colours, *kernel = evidence.shape("sub_patch_embedding.projection.weight", 4)
    if colours != 3 or kernel != [7, 7]:
        raise CheckpointError(f"the sub-patch convolution is {kernel} over {colours} channels; served is 7×7 over 3")
    if evidence.statement.pooling not in (None, "token"):
        raise CheckpointError(
            f"{evidence.statement.origin} says TNT pools by {evidence.statement.pooling}, not by token"
        )
    words = evidence.shape("sentence.norm.weight", 1)[0] // inner_dim
    patch_size = math.isqrt(words) * STRIDE
    dim = evidence.shape("class_token", 3)[2]
    known = {
        name: config
        for name, config in VARIANTS.items()
        if isinstance(config, TNTConfig) and (config.dim, config.inner_dim) == (dim, inner_dim)
    }
    normalised = evidence.has("blocks.0.to_outer.output_norm.weight")
    return TNTConfig(
        image_size=math.isqrt(evidence.shape("outer_position", 3)[1] - 1) * patch_size,
        patch_size=patch_size,
        sub_patch_size=STRIDE,
        dim=dim,
        depth=evidence.depth(),
        heads=evidence.settle("number of heads", evidence.statement.heads, {n: c.heads for n, c in known.items()}),
        mlp_dim=evidence.shape("blocks.0.outer.mlp.expand.weight", 2)[0],
        inner_dim=inner_dim,
        inner_heads=_inner_heads(evidence, known),
        inner_mlp_dim=evidence.shape("blocks.0.inner.mlp.expand.weight", 2)[0],
        num_classes=evidence.num_classes(),
        sub_patch_embedding="convolution" if normalised else "image_convolution",
        normalise_projection=normalised,
        inner_position=evidence.has("inner_position"),
        qkv_bias=evidence.has("blocks.0.inner.attention.qkv.bias"),
        norm_eps=evidence.norm_eps(known),
    )


def _inner_heads(evidence: CheckpointShapes, known: Mapping[str, TNTConfig]) -> int:
    said = evidence.statement.architecture
    said_heads = said.inner_heads if isinstance(said, TNTConfig) else None
    return evidence.settle("number of inner heads", said_heads, {n: c.inner_heads for n, c in known.items()})
