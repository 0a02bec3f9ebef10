"""Key maps: rules that rename the tensors of published checkpoints to our names. No torch.

A new name that ends in `#n` is part n of one of our tensors; parts are stacked along their rows in that order (Q, K and
V of `qkv`; class, distillation and register tokens of `prefix`).
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

from ..errors import CheckpointError

Rules = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class KeyMap:
    """Naming scheme of a library's checkpoints.

    Attributes:
        identifier: pattern of a key that every checkpoint of this scheme has, and none of a later one in `KEY_MAPS`.
        rules: pairs of pattern and replacement, applied in turn.
        ignored: pattern of keys that inference does not use.
        norm_eps: the library's LayerNorm epsilon for such checkpoints, None if it varies.
        antialias: True if the library resamples position tables with an antialiased filter.
    """

    name: str
    family: str
    identifier: str
    rules: Rules
    ignored: str = r"(?!)"
    norm_eps: float | None = None
    antialias: bool = True

    def rename(self, name: str) -> str | None:
        """Our name for a tensor, or None if inference does not use it."""
        if re.fullmatch(self.ignored, name):
            return None
        for pattern, replacement in self.rules:
            name = re.sub(pattern, replacement, name)
        return name


_TIMM_BLOCK: Rules = (
    (r"^(blocks\.\d+)\.norm1\.", r"\1.attention_norm."),
    (r"^(blocks\.\d+)\.norm2\.", r"\1.mlp_norm."),
    (r"^(blocks\.\d+)\.attn\.q_norm\.", r"\1.attention.query_norm."),
    (r"^(blocks\.\d+)\.attn\.k_norm\.", r"\1.attention.key_norm."),
    (r"^(blocks\.\d+)\.attn\.proj\.", r"\1.attention.projection."),
    (r"^(blocks\.\d+)\.attn\.", r"\1.attention."),
    (r"^(blocks\.\d+)\.(?:ls1\.gamma|gamma_1)$", r"\1.attention_scale.factor"),
    (r"^(blocks\.\d+)\.(?:ls2\.gamma|gamma_2)$", r"\1.mlp_scale.factor"),
    (r"^(blocks\.\d+)\.mlp\.(?:fc1|w12)\.", r"\1.mlp.expand."),
    (r"^(blocks\.\d+)\.mlp\.(?:fc2|w3)\.", r"\1.mlp.contract."),
)

TIMM_VIT = KeyMap(
    name="timm's (also DeiT's, DeiT III's, MAE's and DINOv2's own)",
    family="vit",
    identifier=r"patch_embed\.proj\.weight",
    rules=(
        (r"^cls_token$", "prefix#0"),
        (r"^dist_token$", "prefix#1"),
        (r"^(?:reg_token|register_tokens)$", "prefix#2"),
        (r"^pos_embed$", "position_embedding.weight"),
        (r"^patch_embed\.proj\.", "patch_embedding.projection."),
        (r"^norm_pre\.", "input_norm."),
        (r"^fc_norm\.", "pooled_norm."),
        (r"^head_dist\.", "distillation_head."),
        *_TIMM_BLOCK,
    ),
    ignored=r"mask_token",
)

_HUGGING_FACE: Rules = (
    (r"^(?:vit|deit|dinov2|dinov2_with_registers)\.", ""),
    (r"^embeddings\.cls_token$", "prefix#0"),
    (r"^embeddings\.distillation_token$", "prefix#1"),
    (r"^embeddings\.register_tokens$", "prefix#2"),
    (r"^embeddings\.position_embeddings$", "position_embedding.weight"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embedding.projection."),
    (r"^(?:encoder\.)?layers?\.", "blocks."),
    (r"\.attention\.(?:attention\.query|q_proj)\.(\w+)$", r".attention.qkv.\1#0"),
    (r"\.attention\.(?:attention\.key|k_proj)\.(\w+)$", r".attention.qkv.\1#1"),
    (r"\.attention\.(?:attention\.value|v_proj)\.(\w+)$", r".attention.qkv.\1#2"),
    (r"\.attention\.(?:output\.dense|o_proj)\.", ".attention.projection."),
    (r"\.(?:layernorm_before|norm1)\.", ".attention_norm."),
    (r"\.(?:layernorm_after|norm2)\.", ".mlp_norm."),
    (r"\.layer_scale1\.lambda1$", ".attention_scale.factor"),
    (r"\.layer_scale2\.lambda1$", ".mlp_scale.factor"),
    (r"\.mlp\.gate_proj\.(\w+)$", r".mlp.expand.\1#0"),
    (r"\.mlp\.up_proj\.(\w+)$", r".mlp.expand.\1#1"),
    (r"\.(?:intermediate\.dense|mlp\.fc1|mlp\.weights_in)\.", ".mlp.expand."),
    (r"^(blocks\.\d+)\.(?:output\.dense|mlp\.fc2|mlp\.weights_out|mlp\.down_proj)\.", r"\1.mlp.contract."),
    (r"^layernorm\.", "norm."),
    (r"^(?:cls_)?classifier\.", "head."),
    (r"^distillation_classifier\.", "distillation_head."),
)
_HUGGING_FACE_IGNORED = r"(?:\w+\.)?(?:pooler\.dense\.\w+|embeddings\.mask_token)"

HUGGING_FACE_DINOV2_REGISTERS = KeyMap(
    name="Hugging Face's for DINOv2 with registers",
    family="vit",
    identifier=r"(?:\w+\.)?embeddings\.register_tokens",
    rules=_HUGGING_FACE,
    ignored=_HUGGING_FACE_IGNORED,
    norm_eps=1e-6,
)
HUGGING_FACE_DINOV2 = KeyMap(
    name="Hugging Face's for DINOv2",
    family="vit",
    identifier=r"(?:\w+\.)?(?:encoder\.)?layers?\.0\.layer_scale1\.lambda1",
    rules=_HUGGING_FACE,
    ignored=_HUGGING_FACE_IGNORED,
    norm_eps=1e-6,
    antialias=False,
)
HUGGING_FACE_VIT = KeyMap(
    name="Hugging Face's for ViT and DeiT",
    family="vit",
    identifier=r"(?:\w+\.)?embeddings\.patch_embeddings\.projection\.weight",
    rules=_HUGGING_FACE,
    ignored=_HUGGING_FACE_IGNORED,
    norm_eps=1e-12,
    antialias=False,
)

_TIMM_TNT: Rules = (
    (r"^pixel_embed\.proj\.", "sub_patch_embedding.projection."),
    (r"^pixel_pos$", "inner_position"),
    (r"^patch_pos$", "outer_position"),
    (r"^cls_token$", "class_token"),
    (r"^norm1_proj\.", "sentence.norm."),
    (r"^proj\.", "sentence.projection."),
    (r"^norm2_proj\.", "sentence.output_norm."),
    (r"^(blocks\.\d+)\.norm1_proj\.", r"\1.to_outer.norm."),
    (r"^(blocks\.\d+)\.proj\.", r"\1.to_outer.projection."),
    (r"^(blocks\.\d+)\.norm2_proj\.", r"\1.to_outer.output_norm."),
    (r"^(blocks\.\d+)\.norm_in\.", r"\1.inner.attention_norm."),
    (r"^(blocks\.\d+)\.norm_mlp_in\.", r"\1.inner.mlp_norm."),
    (r"^(blocks\.\d+)\.norm_out\.", r"\1.outer.attention_norm."),
    (r"^(blocks\.\d+)\.norm_mlp\.", r"\1.outer.mlp_norm."),
    (r"^(blocks\.\d+)\.attn_in\.", r"\1.inner.attention."),
    (r"^(blocks\.\d+)\.attn_out\.", r"\1.outer.attention."),
    (r"^(blocks\.\d+)\.mlp_in\.", r"\1.inner.mlp."),
    (r"^(blocks\.\d+)\.mlp\.", r"\1.outer.mlp."),
    (r"\.attention\.qk\.(\w+)$", r".attention.qkv.\1#0"),
    (r"\.attention\.v\.(\w+)$", r".attention.qkv.\1#1"),
    (r"\.attention\.proj\.", ".attention.projection."),
    (r"\.mlp\.fc1\.", ".mlp.expand."),
    (r"\.mlp\.fc2\.", ".mlp.contract."),
)

TIMM_TNT = KeyMap(
    name="timm's for TNT", family="tnt", identifier=r"pixel_embed\.proj\.weight", rules=_TIMM_TNT, norm_eps=1e-5
)
OFFICIAL_TNT = KeyMap(
    name="the TNT authors'",
    family="tnt",
    identifier=r"blocks\.0\.inner_attn\.qk\.weight",
    rules=(
        (r"^patch_embed\.", "pixel_embed."),
        (r"^inner_pos$", "pixel_pos"),
        (r"^outer_pos$", "patch_pos"),
        (r"(^|\.)proj_norm1\.", r"\1norm1_proj."),
        (r"(^|\.)proj_norm2\.", r"\1norm2_proj."),
        (r"\.inner_norm1\.", ".norm_in."),
        (r"\.inner_norm2\.", ".norm_mlp_in."),
        (r"\.outer_norm1\.", ".norm_out."),
        (r"\.outer_norm2\.", ".norm_mlp."),
        (r"\.inner_attn\.", ".attn_in."),
        (r"\.outer_attn\.", ".attn_out."),
        (r"\.inner_mlp\.", ".mlp_in."),
        (r"\.outer_mlp\.", ".mlp."),
        *_TIMM_TNT,
    ),
    ignored=r"outer_tokens",
    norm_eps=1e-5,
)

KEY_MAPS = (
    OFFICIAL_TNT,
    TIMM_TNT,
    TIMM_VIT,
    HUGGING_FACE_DINOV2_REGISTERS,
    HUGGING_FACE_DINOV2,
    HUGGING_FACE_VIT,
)
"""Key maps in order of precedence: the first whose identifier is among the names."""


def find_key_map(names: Collection[str]) -> KeyMap:
    """Key map for a checkpoint's tensor names.

    Raises:
        CheckpointError: none matches, so it is not a ViT, DeiT or TNT.
    """
    for key_map in KEY_MAPS:
        if any(re.fullmatch(key_map.identifier, name) for name in names):
            return key_map
    known = "; ".join(f"{key_map.name} ({_readable(key_map.identifier)})" for key_map in KEY_MAPS)
    raise CheckpointError(
        f"not a ViT, DeiT or TNT checkpoint: its {len(names)} tensors are named {_sample(names)}; "
        f"supported naming schemes, each with a tensor that it requires: {known}"
    )


def has_key_map(names: Collection[str]) -> bool:
    """True if a key map matches a checkpoint's tensor names."""
    return any(re.fullmatch(key_map.identifier, name) for key_map in KEY_MAPS for name in names)


def _sample(names: Collection[str]) -> str:
    return ", ".join(list(names)[:4]) + (", …" if len(names) > 4 else "")


def _readable(identifier: str) -> str:
    return re.sub(r"\(\?:[^)]*\)\?|\\", "", identifier)
