"""Sample photographs: from installed packages, reproducible, or smooth noise without them."""

import numpy as np
import pytest

from tessella.models.preprocessing import sample_photos
from tessella.models.preprocessing.preprocess import Preprocessing
from tessella.models.preprocessing.sample_photos import installed_photographs, sample_images, sample_pixels

PREPROCESSING = Preprocessing(size=16, resize=18)


def test_sample_pixels_are_reproducible_and_distinct() -> None:
    pixels, origin = sample_pixels(PREPROCESSING, 9)
    assert (pixels.shape, origin) == ((9, 16, 16, 3), "photographs of scikit-image")
    assert np.array_equal(pixels, sample_pixels(PREPROCESSING, 9)[0])
    assert len({image.tobytes() for image in pixels}) == 9


def test_sample_images_have_the_requested_sizes() -> None:
    sizes = [(30, 41), (600, 20), (7, 7)]
    images, _ = sample_images(sizes)
    assert [image.size for image in images] == sizes
    assert {image.mode for image in images} == {"RGB"}


@pytest.mark.parametrize(
    ("packages", "library", "origin"),
    [({"sklearn"}, "scikit-learn", "photographs of scikit-learn"), (set(), "", "smooth noise")],
    ids=["scikit-learn", "none"],
)
def test_without_scikit_image(packages: set[str], library: str, origin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_photos, "installed", lambda name: name in packages)
    photographs, source = installed_photographs()
    assert (bool(photographs), source) == (bool(packages), library)
    pixels, named = sample_pixels(PREPROCESSING, 2)
    assert named == origin
    assert pixels.std() > 5
