"""Network configurations: frozen dataclasses for ViT (with DeiT) and TNT. No torch."""

from dataclasses import dataclass
from typing import Literal

Position = Literal["learned", "factorised", "sincos", "none"]
Feedforward = Literal["gelu", "quick_gelu", "swiglu"]
Pooling = Literal["token", "mean", "token_mean"]
SubPatchEmbedding = Literal["linear", "convolution", "image_convolution"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ViTConfig:
    """Vision Transformer (Dosovitskiy et al., arXiv 2010.11929) or DeiT (Touvron et al., arXiv 2012.12877).

    Sizes are in pixels, `dim` and `mlp_dim` in channels.

    Attributes:
        num_classes: 0 for no head; the network then returns features.
        position_prefix: the position table also has rows for class, distillation and register tokens, as in the paper.
        pooling: the class token, the mean of the patch tokens, or both concatenated (DINOv2's linear classifiers).
        norm_after_pooling: the last LayerNorm acts on the pooled vector (timm's `fc_norm`), not on every token.
        pre_norm: a LayerNorm before the first block (CLIP).

    Raises:
        ValueError: sizes do not divide, or the pooling needs tokens that the network does not have.
    """

    image_size: int = 224
    patch_size: int = 16
    dim: int = 768
    depth: int = 12
    heads: int = 12
    mlp_dim: int = 3072
    feedforward: Feedforward = "gelu"
    num_classes: int = 1000
    position: Position = "learned"
    position_prefix: bool = True
    class_token: bool = True
    distillation_token: bool = False
    register_tokens: int = 0
    pooling: Pooling = "token"
    norm_after_pooling: bool = False
    patch_bias: bool = True
    pre_norm: bool = False
    qkv_bias: bool = True
    qk_norm: bool = False
    layer_scale: bool = False
    norm_eps: float = 1e-6

    def __post_init__(self) -> None:
        _check_divides("patch_size", self.patch_size, "image_size", self.image_size)
        _check_divides("heads", self.heads, "dim", self.dim)
        if self.pooling != "mean" and not self.class_token:
            raise ValueError(f"pooling={self.pooling!r} reads the class token, but class_token is False; use 'mean'")
        if self.pooling == "token_mean" and self.norm_after_pooling:
            raise ValueError("pooling='token_mean' reads normalised tokens; norm_after_pooling must be False")
        if self.distillation_token and (not self.class_token or self.pooling != "token"):
            raise ValueError("a distillation token needs class_token=True and pooling='token'")

    @property
    def grid(self) -> int:
        """Patches along one side of the image."""
        return self.image_size // self.patch_size

    @property
    def prefix_tokens(self) -> int:
        """Tokens before the first patch token: class, distillation, registers."""
        return int(self.class_token) + int(self.distillation_token) + self.register_tokens

    @property
    def tokens(self) -> int:
        """Length of the token sequence: prefix and patches."""
        return self.prefix_tokens + self.grid**2

    @property
    def feature_dim(self) -> int:
        """Length of the vector that the head reads."""
        return 2 * self.dim if self.pooling == "token_mean" else self.dim


@dataclass(frozen=True, slots=True, kw_only=True)
class TNTConfig:
    """Transformer in Transformer (Han et al., arXiv 2103.00112).

    A patch of `patch_size` pixels is a sentence of (patch_size / sub_patch_size)² words of `inner_dim` channels.

    Attributes:
        sub_patch_embedding: `linear` projects each word's pixels (the paper's unfold), `convolution` runs a 7×7
            convolution over every patch in isolation (official weights), `image_convolution` runs it over the whole
            image (timm's legacy form).
        normalise_projection: the inner-to-outer projection has a LayerNorm before and after it and no bias (official
            weights); False is timm's legacy form: one LayerNorm per word before it, a bias, none after it.

    Raises:
        ValueError: sizes do not divide.
    """

    image_size: int = 224
    patch_size: int = 16
    sub_patch_size: int = 4
    dim: int = 384
    depth: int = 12
    heads: int = 6
    mlp_dim: int = 1536
    inner_dim: int = 24
    inner_heads: int = 4
    inner_mlp_dim: int = 96
    num_classes: int = 1000
    sub_patch_embedding: SubPatchEmbedding = "convolution"
    normalise_projection: bool = True
    inner_position: bool = True
    outer_position: bool = True
    qkv_bias: bool = False
    norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        _check_divides("patch_size", self.patch_size, "image_size", self.image_size)
        _check_divides("sub_patch_size", self.sub_patch_size, "patch_size", self.patch_size)
        _check_divides("heads", self.heads, "dim", self.dim)
        _check_divides("inner_heads", self.inner_heads, "inner_dim", self.inner_dim)

    @property
    def grid(self) -> int:
        """Patches along one side of the image."""
        return self.image_size // self.patch_size

    @property
    def words(self) -> int:
        """Words (sub-patches) of one patch."""
        return (self.patch_size // self.sub_patch_size) ** 2

    @property
    def tokens(self) -> int:
        """Length of the outer token sequence: class token and patches."""
        return 1 + self.grid**2

    @property
    def feature_dim(self) -> int:
        """Length of the vector that the head reads."""
        return self.dim


Config = ViTConfig | TNTConfig


def _check_divides(divisor_name: str, divisor: int, name: str, value: int) -> None:
    if divisor <= 0 or value <= 0 or value % divisor:
        raise ValueError(f"{divisor_name} ({divisor}) must be positive and divide {name} ({value})")
