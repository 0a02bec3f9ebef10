"""Published architectures: network configurations by timm name. No torch."""

from typing import Any

from .config import Config, TNTConfig, ViTConfig

WIDTHS: dict[str, dict[str, int]] = {
    "xsmall": {"dim": 256, "depth": 10, "heads": 4, "mlp_dim": 1024},
    "wee": {"dim": 256, "depth": 14, "heads": 4, "mlp_dim": 1280},
    "little": {"dim": 320, "depth": 14, "heads": 5, "mlp_dim": 1792},
    "tiny": {"dim": 192, "depth": 12, "heads": 3, "mlp_dim": 768},
    "small": {"dim": 384, "depth": 12, "heads": 6, "mlp_dim": 1536},
    "medium": {"dim": 512, "depth": 12, "heads": 8, "mlp_dim": 2048},
    "mediumd": {"dim": 512, "depth": 20, "heads": 8, "mlp_dim": 2048},
    "betwixt": {"dim": 640, "depth": 12, "heads": 10, "mlp_dim": 2560},
    "base": {"dim": 768, "depth": 12, "heads": 12, "mlp_dim": 3072},
    "so150m": {"dim": 896, "depth": 18, "heads": 14, "mlp_dim": 2304},
    "so150m2": {"dim": 832, "depth": 21, "heads": 13, "mlp_dim": 2176},
    "large": {"dim": 1024, "depth": 24, "heads": 16, "mlp_dim": 4096},
    "so400m": {"dim": 1152, "depth": 27, "heads": 16, "mlp_dim": 4304},
    "huge": {"dim": 1280, "depth": 32, "heads": 16, "mlp_dim": 5120},
    "giant": {"dim": 1408, "depth": 40, "heads": 16, "mlp_dim": 6144},
    "gigantic": {"dim": 1664, "depth": 48, "heads": 16, "mlp_dim": 8192},
}
"""Model sizes: the papers' Ti to H, g and G of "Scaling Vision Transformers" (arXiv 2106.04560), and timm's."""

_GIANT_DINOV2 = {"dim": 1536, "depth": 40, "heads": 24, "mlp_dim": 8192, "feedforward": "swiglu"}
_CLIP = {"pre_norm": True, "patch_bias": False, "norm_eps": 1e-5}
_QUICK_CLIP = _CLIP | {"feedforward": "quick_gelu"}
_DEIT3 = {"position_prefix": False, "layer_scale": True}
_DINOV2 = {"layer_scale": True, "num_classes": 0}
_DINOV2_REGISTERS = _DINOV2 | {"register_tokens": 4, "position_prefix": False}
_MEAN = {"pooling": "mean", "norm_after_pooling": True}
_GAP = {"class_token": False, "pooling": "mean", "position_prefix": False}
_REGISTER_GAP = _GAP | {"norm_after_pooling": True, "layer_scale": True}
_GAP_SCALED = _GAP | {"layer_scale": True, "qkv_bias": False}


def _family(template: str, *rows: str, **options: Any) -> dict[str, Config]:
    """Configurations by name, from rows `width patch size,size…` and a template of the name."""
    family: dict[str, Config] = {}
    for row in rows:
        width, patch, sizes = row.split()
        for size in sizes.split(","):
            arguments: dict[str, Any] = {**WIDTHS[width], **options}
            name = template.format(width=width, patch=patch, size=size)
            family[name] = ViTConfig(patch_size=int(patch), image_size=int(size), **arguments)
    return family


VARIANTS: dict[str, Config] = {
    **_family(
        "vit_{width}_patch{patch}_{size}",
        "tiny 16 224,384",
        *("small 8 224", "small 16 224,384", "small 32 224,384"),
        *("base 8 224", "base 16 224,384", "base 32 224,384"),
        *("large 14 224", "large 16 224,384", "large 32 224,384"),
        *("huge 14 224", "giant 14 224", "gigantic 14 224"),
    ),
    **_family("vit_{width}_patch{patch}_{size}_miil", "base 16 224", qkv_bias=False),
    **_family("vit_{width}_patch{patch}_36x1_{size}", "small 16 224", depth=36, layer_scale=True),
    **_family("deit_{width}_patch{patch}_{size}", "tiny 16 224", "small 16 224", "base 16 224,384"),
    **_family(
        "deit_{width}_distilled_patch{patch}_{size}",
        *("tiny 16 224", "small 16 224", "base 16 224,384"),
        distillation_token=True,
    ),
    **_family(
        "deit3_{width}_patch{patch}_{size}",
        *("small 16 224,384", "medium 16 224", "base 16 224,384", "large 16 224,384", "huge 14 224"),
        **_DEIT3,
    ),
    **_family("eva_{width}_patch{patch}_{size}", "large 14 196,336", **_MEAN),
    **_family("flexivit_{width}", "small 16 240", "base 16 240", "large 16 240", position_prefix=False),
    **_family(
        "vit_{width}_patch{patch}_clip_{size}",
        *("xsmall 16 224", "medium 16 224", "medium 32 224", "betwixt 32 224"),
        *("base 16 224,384", "base 32 224,256,384,448", "large 14 224,336"),
        *("huge 14 224,336,378", "giant 14 224", "gigantic 14 224,378"),
        **_CLIP,
    ),
    **_family(
        "vit_{width}_patch{patch}_clip_quickgelu_{size}",
        *("base 16 224", "base 32 224", "large 14 224,336", "huge 14 224,378", "gigantic 14 224"),
        **_QUICK_CLIP,
    ),
    **_family("vit_{width}_patch{patch}_dinov2", "small 14 518", "base 14 518", "large 14 518", **_DINOV2),
    **_family("vit_{width}_patch{patch}_dinov2", "giant 14 518", **_DINOV2 | _GIANT_DINOV2),
    **_family(
        "vit_{width}_patch{patch}_reg4_dinov2", "small 14 518", "base 14 518", "large 14 518", **_DINOV2_REGISTERS
    ),
    **_family("vit_{width}_patch{patch}_reg4_dinov2", "giant 14 518", **_DINOV2_REGISTERS | _GIANT_DINOV2),
    **_family("vit_{width}_patch{patch}_gap_{size}", "base 16 224", **_GAP | {"heads": 16}),
    **_family("vit_{width}_patch{patch}_gap_{size}", "huge 14 224", "huge 16 448", "giant 16 224", **_GAP),
    **_family("vit_{width}_patch{patch}_gap_{size}", "medium 16 240,256,384", "betwixt 16 256", **_GAP_SCALED),
    **_family(
        "vit_{width}_patch{patch}_siglip_gap_{size}",
        *("base 16 224,256,384,512", "large 16 256,384", "so400m 14 224,378,448,896"),
        **_GAP,
    ),
    **_family(
        "vit_{width}_patch{patch}_reg1_gap_{size}",
        *("wee 16 256", "little 16 256", "medium 16 256", "betwixt 16 256"),
        **_REGISTER_GAP | {"register_tokens": 1},
    ),
    **_family(
        "vit_{width}_patch{patch}_reg4_gap_{size}",
        *("little 16 256", "medium 16 256", "mediumd 16 256,384", "betwixt 16 256,384"),
        **_REGISTER_GAP | {"register_tokens": 4},
    ),
    **_family(
        "vit_{width}_patch{patch}_reg4_gap_{size}",
        "base 16 256",
        **_REGISTER_GAP | {"register_tokens": 4, "layer_scale": False},
    ),
    **_family(
        "vit_{width}_patch{patch}_reg4_gap_{size}",
        "so150m 16 256,384",
        **_GAP | {"register_tokens": 4, "position_prefix": True},
    ),
    **_family(
        "vit_{width}_patch{patch}_reg1_gap_{size}",
        "so150m2 16 256,384,448",
        **_REGISTER_GAP | {"register_tokens": 1, "position_prefix": True, "qkv_bias": False},
    ),
    "test_vit": ViTConfig(image_size=160, dim=64, depth=6, heads=2, mlp_dim=192),
    "tnt_s_patch16_224": TNTConfig(),
    "tnt_b_patch16_224": TNTConfig(dim=640, heads=10, mlp_dim=2560, inner_dim=40, inner_mlp_dim=160),
    "tnt_s_legacy_patch16_224": TNTConfig(sub_patch_embedding="image_convolution", normalise_projection=False),
}


def find_variant(architecture: str) -> Config | None:
    """Configuration for a timm name, with or without a pretraining tag (`….augreg_in1k`), or None."""
    return VARIANTS.get(architecture.partition(".")[0])
