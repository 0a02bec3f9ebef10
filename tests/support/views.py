"""Views of a random image through the shipped networks, for tests of figures and values."""

from functools import cache

import numpy as np
from PIL import Image

from tessella.models.visualization.subject import Subject, View


@cache
def noise_views() -> tuple[View, View]:
    """Views through digits-vit and digits-tnt."""
    generator = np.random.default_rng(0)
    image = Image.fromarray(generator.integers(0, 256, (30, 40, 3), dtype=np.uint8))
    vit, tnt = (View.of(Subject.load(name), "noise.png", image) for name in ("digits-vit", "digits-tnt"))
    return vit, tnt
