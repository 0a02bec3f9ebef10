"""Published families, and the architectures of each that tests compare with timm's; `docs/models.md` lists them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Family:
    """Published family.

    Attributes:
        checkpoints: origins of its checkpoints.
        architectures: timm's names, each compared in a test with timm's network.
    """

    title: str
    checkpoints: str
    architectures: tuple[str, ...]


FAMILIES = (
    Family(
        "ViT",
        "timm, Google (via timm and Hugging Face), MAE",
        (
            "vit_tiny_patch16_224",
            "vit_tiny_patch16_384",
            "vit_small_patch8_224",
            "vit_small_patch16_224",
            "vit_small_patch32_224",
            "vit_base_patch8_224",
            "vit_base_patch16_224",
            "vit_base_patch16_224_miil",
            "vit_base_patch32_224",
            "vit_small_patch16_36x1_224",
            "vit_large_patch14_224",
            "vit_large_patch16_224",
            "vit_large_patch32_224",
            "vit_huge_patch14_224",
            "vit_giant_patch14_224",
            "vit_gigantic_patch14_224",
        ),
    ),
    Family(
        "DeiT",
        "timm, the authors', Hugging Face",
        (
            "deit_tiny_patch16_224",
            "deit_small_patch16_224",
            "deit_base_patch16_224",
            "deit_tiny_distilled_patch16_224",
            "deit_small_distilled_patch16_224",
            "deit_base_distilled_patch16_384",
        ),
    ),
    Family(
        "DeiT III",
        "timm, the authors'",
        (
            "deit3_small_patch16_224",
            "deit3_medium_patch16_224",
            "deit3_base_patch16_384",
            "deit3_large_patch16_224",
            "deit3_huge_patch14_224",
        ),
    ),
    Family(
        "CLIP image towers",
        "timm",
        (
            "vit_medium_patch16_clip_224",
            "vit_base_patch32_clip_224",
            "vit_base_patch16_clip_quickgelu_224",
            "vit_large_patch14_clip_336",
            "vit_huge_patch14_clip_224",
        ),
    ),
    Family(
        "DINOv2, with and without registers",
        "timm, the authors', Hugging Face",
        (
            "vit_small_patch14_dinov2",
            "vit_base_patch14_reg4_dinov2",
            "vit_large_patch14_reg4_dinov2",
            "vit_giant_patch14_dinov2",
            "vit_giant_patch14_reg4_dinov2",
        ),
    ),
    Family(
        "Mean-pooled ViT (I-JEPA, SigLIP, EVA and timm's own)",
        "timm",
        (
            "vit_wee_patch16_reg1_gap_256",
            "vit_little_patch16_reg4_gap_256",
            "vit_medium_patch16_gap_256",
            "vit_base_patch16_gap_224",
            "vit_base_patch16_siglip_gap_256",
            "vit_so150m_patch16_reg4_gap_256",
            "vit_so150m2_patch16_reg1_gap_256",
            "eva_large_patch14_336",
        ),
    ),
    Family(
        "TNT",
        "timm (current and legacy), the authors'",
        ("tnt_s_patch16_224", "tnt_b_patch16_224", "tnt_s_legacy_patch16_224"),
    ),
)
