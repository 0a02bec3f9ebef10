"""Network configuration inferred from the names and shapes of a checkpoint's tensors. No torch."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from ..config import Config, Feedforward, Pooling, TNTConfig, ViTConfig
from ..errors import CheckpointError
from ..variants import VARIANTS
from .config_json import CheckpointConfig
from .key_maps import HUGGING_FACE_VIT, find_key_map

Shape = tuple[int, ...]
T = TypeVar("T")

STRIDE = 4
"""Stride in pixels of TNT's sub-patch convolution in every published network."""


class CheckpointShapes:
    """Tensor shapes of a checkpoint under our names, its checkpoint config, and notes on what was inferred so far.

    Args:
        foreign: name -> shape, as in the checkpoint.
        config: settings given beside the tensors.

    Raises:
        CheckpointError: not a ViT, DeiT or TNT.
    """

    def __init__(self, foreign: Mapping[str, Shape], config: CheckpointConfig) -> None:
        self.key_map = find_key_map(foreign)
        self.config = config
        self.notes: list[str] = []
        renamed = ((self.key_map.rename(name), shape) for name, shape in foreign.items())
        self._shapes = {name: shape for name, shape in renamed if name is not None}

    def has(self, name: str) -> bool:
        """True if a tensor of this name exists, or the first part of one."""
        return name in self._shapes or f"{name}#0" in self._shapes

    def shape(self, name: str, dimensions: int) -> Shape:
        """Shape of a required tensor; parts count as stacked along their rows.

        Raises:
            CheckpointError: it is missing, or has another number of dimensions.
        """
        parts = [shape for key, shape in self._shapes.items() if name in (key, key.partition("#")[0])]
        if not parts:
            raise CheckpointError(f"no tensor for {name!r}: the checkpoint is incomplete, or of another architecture")
        if any(len(part) != dimensions for part in parts):
            raise CheckpointError(f"the tensor for {name!r} has shape {parts[0]}; expected {dimensions} dimensions")
        return (sum(part[0] for part in parts), *parts[0][1:])

    def depth(self) -> int:
        """Number of blocks.

        Raises:
            CheckpointError: a block is missing between others.
        """
        numbers = {int(match[1]) for key in self._shapes if (match := re.match(r"blocks\.(\d+)\.", key))}
        if missing := set(range(max(numbers, default=-1))) - numbers:
            raise CheckpointError(f"no tensors for block {min(missing)}, but for block {max(numbers)}")
        return len(numbers)

    def num_classes(self) -> int:
        """Rows of the head; 0 without one."""
        return self.shape("head.weight", 2)[0] if self.has("head.weight") else 0

    def norm_eps(self, known: Mapping[str, Config]) -> float:
        """LayerNorm epsilon: from `config.json`, the key map, or the known architectures, in this order.

        The epsilon of a named architecture is timm's, so the key map's goes before it.
        """
        given = self.config.norm_eps
        if given is None or self.config.architecture is not None:
            given = self.key_map.norm_eps or given
        return self.resolve("LayerNorm epsilon", given, {name: config.norm_eps for name, config in known.items()})

    def resolve(self, setting: str, given: T | None, known: Mapping[str, T]) -> T:
        """Setting as given, or the value that all known architectures of this form share.

        Args:
            setting: its name, for notes and errors.
            known: architecture -> value.

        Raises:
            CheckpointError: no value is given, and the known architectures differ or there are none.
        """
        if given is not None:
            return given
        examples = {value: name for name, value in known.items()}
        if len(examples) == 1:
            (value,) = examples
            self.notes.append(f"{setting} {value}, as in every known architecture of this form")
            return value
        options = ", ".join(f"{value} in {name}" for value, name in examples.items())
        reason = f"known architectures of this form differ ({options})" if options else "no known architecture matches"
        raise CheckpointError(
            f"the {setting} cannot be read from tensors, is not given by {self.config.origin}, and {reason}"
            '; name the timm architecture: `architecture=`, or {"architecture": …} in a config.json beside the file'
        )


@dataclass(frozen=True, slots=True)
class InferredConfig:
    """Network configuration, with a note on each value that was inferred rather than read."""

    config: Config
    notes: tuple[str, ...]


def infer_config(foreign: Mapping[str, Shape], given: CheckpointConfig) -> InferredConfig:
    """Network configuration for these tensors, at the resolution of their position table.

    Args:
        foreign: name -> shape, as in the checkpoint.
        given: settings given beside the tensors.

    Raises:
        CheckpointError: not a ViT, DeiT or TNT; a required tensor is missing; the tensors contradict `given`; or the
            number of heads, the activation or the LayerNorm epsilon is neither given nor common to all known
            architectures of this form.
    """
    shapes = CheckpointShapes(foreign, given)
    try:
        config = _vit(shapes) if shapes.key_map.family == "vit" else _tnt(shapes)
    except CheckpointError:
        raise
    except ValueError as error:
        raise CheckpointError(f"the tensors do not make a network: {error}") from error
    for name, value in given.expected.items():
        if getattr(config, name) != value:
            raise CheckpointError(f"{given.origin} has {name} {value}, the tensors have {getattr(config, name)}")
    return InferredConfig(config, tuple(shapes.notes))


def _vit(shapes: CheckpointShapes) -> ViTConfig:
    dim, patch_size = _patches(shapes)
    mlp_dim, gated = _mlp(shapes, "blocks.0.mlp")
    class_token, distillation_token, register_tokens = _prefix(shapes)
    pre_norm, qk_norm = shapes.has("input_norm.weight"), shapes.has("blocks.0.attention.query_norm.weight")
    pooling = _pooling(shapes, dim, class_token=class_token, distillation_token=distillation_token)
    position, image_size, position_prefix = _positions(
        shapes, patch_size, class_token, class_token + distillation_token + register_tokens
    )
    known = _matching_variants(dim, mlp_dim, class_token=class_token, pre_norm=pre_norm, gated=gated)
    return ViTConfig(
        image_size=image_size,
        patch_size=patch_size,
        dim=dim,
        depth=shapes.depth(),
        heads=_heads(shapes, dim, known, qk_norm=qk_norm),
        mlp_dim=mlp_dim,
        feedforward=_feedforward(shapes, known, gated=gated),
        num_classes=shapes.num_classes(),
        position="learned" if position else "none",
        position_prefix=position_prefix,
        class_token=class_token,
        distillation_token=distillation_token,
        register_tokens=register_tokens,
        pooling=pooling,
        norm_after_pooling=pooling == "mean" and shapes.has("pooled_norm.weight"),
        patch_bias=shapes.has("patch_embedding.projection.bias"),
        pre_norm=pre_norm,
        qkv_bias=shapes.has("blocks.0.attention.qkv.bias"),
        qk_norm=qk_norm,
        layer_scale=shapes.has("blocks.0.attention_scale.factor"),
        norm_eps=shapes.norm_eps(known),
    )


def _prefix(shapes: CheckpointShapes) -> tuple[bool, bool, int]:
    """Class token, distillation token (present or not), and the number of register tokens.

    A distillation token without a head counts as a register: Hugging Face's DeiT without the teacher's head.
    """
    class_token, distillation_token = shapes.has("prefix#0"), shapes.has("prefix#1")
    register_tokens = shapes.shape("prefix#2", 3)[1] if shapes.has("prefix#2") else 0
    if distillation_token and shapes.key_map is HUGGING_FACE_VIT and not shapes.has("distillation_head.weight"):
        return class_token, False, register_tokens + 1
    return class_token, distillation_token, register_tokens


def _patches(shapes: CheckpointShapes) -> tuple[int, int]:
    dim, channels, height, width = shapes.shape("patch_embedding.projection.weight", 4)
    if channels != 3 or height != width:
        raise CheckpointError(f"a patch has {height}×{width} pixels of {channels} channels, not a square of 3 channels")
    return dim, height


def _mlp(shapes: CheckpointShapes, name: str) -> tuple[int, bool]:
    """Hidden width (gate and value together for SwiGLU), and True for SwiGLU."""
    mlp_dim = shapes.shape(f"{name}.expand.weight", 2)[0]
    return mlp_dim, 2 * shapes.shape(f"{name}.contract.weight", 2)[1] == mlp_dim


def _pooling(shapes: CheckpointShapes, dim: int, *, class_token: bool, distillation_token: bool) -> Pooling:
    if distillation_token:
        return "token"
    if shapes.num_classes() and shapes.shape("head.weight", 2)[1] == 2 * dim:
        return "token_mean"
    if shapes.config.pooling is not None:
        return shapes.config.pooling
    implied = getattr(shapes.config.architecture, "pooling", None)
    if shapes.has("pooled_norm.weight"):
        if implied == "token":
            shapes.notes.append(f"mean pooling, as fc_norm shows; {shapes.config.origin} has the class token")
        return "mean"
    if implied == "mean" and class_token:
        raise CheckpointError(
            f"{shapes.config.origin} pools the mean of the patch tokens, but there is a class token and no fc_norm; "
            'state "global_pool": "token" or "avg" beside "architecture" in config.json'
        )
    return "token" if class_token else "mean"


def _positions(shapes: CheckpointShapes, patch_size: int, class_token: bool, prefix: int) -> tuple[bool, int, bool]:
    """Position table (present or not), its image size, and True if it covers all prefix tokens."""
    if not shapes.has("position_embedding.weight"):
        size = shapes.config.image_size or getattr(shapes.config.architecture, "image_size", None)
        return False, shapes.resolve("image size (there is no position table)", size, {}), False
    rows = shapes.shape("position_embedding.weight", 3)[1]
    covered = {count for count in (0, int(class_token), prefix) if _is_square(rows - count)}
    if len(covered) != 1:
        raise CheckpointError(f"a position table of {rows} rows is no square grid beside {prefix} prefix tokens")
    (count,) = covered
    return True, math.isqrt(rows - count) * patch_size, count == prefix > 0


def _is_square(number: int) -> bool:
    return number > 0 and math.isqrt(number) ** 2 == number


def _matching_variants(
    dim: int, mlp_dim: int, *, class_token: bool, pre_norm: bool, gated: bool
) -> dict[str, ViTConfig]:
    """Known ViTs of this form, by name; they supply the settings that tensors do not show."""
    form = (dim, mlp_dim, class_token, pre_norm, gated)
    return {
        name: known
        for name, known in VARIANTS.items()
        if isinstance(known, ViTConfig)
        and form == (known.dim, known.mlp_dim, known.class_token, known.pre_norm, known.feedforward == "swiglu")
    }


def _heads(shapes: CheckpointShapes, dim: int, known: Mapping[str, ViTConfig], *, qk_norm: bool) -> int:
    if qk_norm:
        return dim // shapes.shape("blocks.0.attention.query_norm.weight", 1)[0]
    return shapes.resolve("number of heads", shapes.config.heads, {n: c.heads for n, c in known.items()})


def _feedforward(shapes: CheckpointShapes, known: Mapping[str, ViTConfig], *, gated: bool) -> Feedforward:
    given = "swiglu" if gated else shapes.config.feedforward
    return shapes.resolve("activation", given, {name: config.feedforward for name, config in known.items()})


def _tnt(shapes: CheckpointShapes) -> TNTConfig:
    inner_dim, channels, *kernel = shapes.shape("sub_patch_embedding.projection.weight", 4)
    if channels != 3 or kernel != [7, 7]:
        raise CheckpointError(f"the sub-patch convolution is {kernel} over {channels} channels, not 7×7 over 3")
    if shapes.config.pooling not in (None, "token"):
        raise CheckpointError(f"{shapes.config.origin} has pooling {shapes.config.pooling!r}; TNT has 'token' only")
    words = shapes.shape("sentence.norm.weight", 1)[0] // inner_dim
    patch_size = math.isqrt(words) * STRIDE
    dim = shapes.shape("class_token", 3)[2]
    known = {
        name: config
        for name, config in VARIANTS.items()
        if isinstance(config, TNTConfig) and (config.dim, config.inner_dim) == (dim, inner_dim)
    }
    normalised = shapes.has("blocks.0.to_outer.output_norm.weight")
    return TNTConfig(
        image_size=math.isqrt(shapes.shape("outer_position", 3)[1] - 1) * patch_size,
        patch_size=patch_size,
        sub_patch_size=STRIDE,
        dim=dim,
        depth=shapes.depth(),
        heads=shapes.resolve("number of heads", shapes.config.heads, {n: c.heads for n, c in known.items()}),
        mlp_dim=shapes.shape("blocks.0.outer.mlp.expand.weight", 2)[0],
        inner_dim=inner_dim,
        inner_heads=_inner_heads(shapes, known),
        inner_mlp_dim=shapes.shape("blocks.0.inner.mlp.expand.weight", 2)[0],
        num_classes=shapes.num_classes(),
        sub_patch_embedding="convolution" if normalised else "image_convolution",
        normalise_projection=normalised,
        inner_position=shapes.has("inner_position"),
        qkv_bias=shapes.has("blocks.0.inner.attention.qkv.bias"),
        norm_eps=shapes.norm_eps(known),
    )


def _inner_heads(shapes: CheckpointShapes, known: Mapping[str, TNTConfig]) -> int:
    named = shapes.config.architecture
    given = named.inner_heads if isinstance(named, TNTConfig) else None
    return shapes.resolve("number of inner heads", given, {n: c.inner_heads for n, c in known.items()})
