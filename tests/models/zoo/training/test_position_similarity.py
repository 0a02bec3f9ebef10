"""Position similarities: cosines, and maps tiled at their positions."""

import numpy as np

from tessella.models.zoo.training.position_similarity import tiled


def test_each_map_is_tiled_at_its_position() -> None:
    cosines = np.arange(81, dtype=np.float64).reshape(9, 9)  # positions of a 3 × 3 grid
    image = tiled(cosines)
    assert image.shape == (11, 11)
    for position in range(9):
        row, column = 4 * (position // 3), 4 * (position % 3)
        assert image[row : row + 3, column : column + 3].ravel().tolist() == cosines[position].tolist()
    assert np.isnan(image[3]).all()
    assert np.isnan(image[:, 7]).all()
