"""Tiled similarity maps: each place's map lies where the place lies."""

import numpy as np

from tessella.models.zoo.training.position_similarity import tiled


def test_the_map_of_a_place_lies_where_the_place_lies() -> None:
    cosines = np.arange(81, dtype=np.float64).reshape(9, 9)  # places of a 3 × 3 grid
    picture = tiled(cosines)
    assert picture.shape == (11, 11)
    for place in range(9):
        row, column = 4 * (place // 3), 4 * (place % 3)
        assert picture[row : row + 3, column : column + 3].ravel().tolist() == cosines[place].tolist()
    assert np.isnan(picture[3]).all()
    assert np.isnan(picture[:, 7]).all()
