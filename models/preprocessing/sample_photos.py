"""Sample photographs from installed packages, for parity checks that random noise would pass too easily."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from ..packages import installed
from .preprocess import Preprocessing

_SKIMAGE = ("astronaut", "chelsea", "coffee", "rocket")


def sample_pixels(preprocessing: Preprocessing, count: int) -> tuple[NDArray[np.uint8], str]:
    """Preprocessed random crops of photographs, uint8 (count, size, size, 3), and their origin.

    The photographs ship with scikit-image or scikit-learn; without either, smooth random images are used.
    """
    pictures, origin = _pictures()
    generator = np.random.default_rng(0)
    return np.stack([preprocessing(_crop(pictures[i % len(pictures)], generator)) for i in range(count)]), origin


def sample_images(sides: Sequence[tuple[int, int]]) -> tuple[list[Image.Image], str]:
    """RGB photographs of the given (width, height), centre-cropped and scaled to fit, and their origin."""
    pictures, origin = _pictures()
    chosen = [pictures[index % len(pictures)] for index in range(len(sides))]
    return [ImageOps.fit(picture, size) for picture, size in zip(chosen, sides, strict=True)], origin


def installed_photographs() -> tuple[dict[str, Image.Image], str]:
    """RGB photographs by name, and the library they ship with; empty if neither library is installed."""
    if installed("skimage"):
        import skimage.data

        images = {name: Image.fromarray(getattr(skimage.data, name)()) for name in _SKIMAGE}
        return {name: image.convert("RGB") for name, image in images.items()}, "scikit-image"
    if installed("sklearn"):
        from sklearn.datasets import load_sample_images

        sample = load_sample_images()
        pairs = zip(sample.filenames, sample.images, strict=True)
        return {Path(file).stem: Image.fromarray(image) for file, image in pairs}, "scikit-learn"
    return {}, ""


def _pictures() -> tuple[list[Image.Image], str]:
    photographs, library = installed_photographs()
    if photographs:
        return list(photographs.values()), f"photographs of {library}"
    generator = np.random.default_rng(1)
    coarse = generator.integers(0, 256, (4, 12, 12, 3), dtype=np.uint8)
    return [Image.fromarray(image).resize((512, 512), Image.Resampling.BICUBIC) for image in coarse], "smooth noise"


def _crop(picture: Image.Image, generator: np.random.Generator) -> Image.Image:
    side = int(min(picture.size) * generator.uniform(0.4, 1))
    left, top = (int(generator.integers(0, length - side + 1)) for length in picture.size)
    return picture.crop((left, top, left + side, top + side))
