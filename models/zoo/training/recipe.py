"""Recipes of the shipped networks: architecture, augmentation and training schedule."""

from dataclasses import dataclass, field

from ...config import Config, TNTConfig, ViTConfig
from ...preprocessing.preprocess import Preprocessing
from .augment import Augmentation


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Training recipe: AdamW with linear warm-up and cosine decay; the weights' exponential moving average ships.

    `easy`: share of the steps over which the augmentation grows to full strength. `average`: decay of the moving
    average per step.
    """

    config: Config
    augmentation: Augmentation = field(default_factory=Augmentation)
    steps: int = 5000
    easy: float = 0.25
    batch: int = 64
    learning_rate: float = 1.5e-3
    warmup: int = 100
    weight_decay: float = 0.05
    label_smoothing: float = 0.05
    average: float = 0.998

    @property
    def preprocessing(self) -> Preprocessing:
        """Preprocessing at the network's input size."""
        return Preprocessing(size=self.config.image_size, resize=self.config.image_size)


RECIPES = {
    "digits-vit": Recipe(
        config=ViTConfig(image_size=24, patch_size=4, dim=96, depth=4, heads=3, mlp_dim=192, num_classes=10),
        steps=4200,
    ),
    "digits-tnt": Recipe(
        config=TNTConfig(
            image_size=24,
            patch_size=8,
            sub_patch_size=2,
            dim=96,
            depth=4,
            heads=3,
            mlp_dim=192,
            inner_dim=16,
            inner_heads=2,
            inner_mlp_dim=32,
            num_classes=10,
            sub_patch_embedding="linear",
        )
    ),
}
