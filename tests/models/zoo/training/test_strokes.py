"""Strokes: most digits are traced, with lines inside the ink."""

from ....support.training_set import few


def test_most_digits_can_be_traced() -> None:
    assert few().ink.traceable.float().mean() > 0.85


def test_lines_run_through_the_ink() -> None:
    ink = few().ink
    for row in ink.traceable.nonzero()[:, 0]:
        on_line = ink.tone[row, 0][ink.distance[row, 0] == 0]
        assert len(on_line) > 20
        assert on_line.mean() > 0.4


def test_distances_are_in_pixels_of_the_digit() -> None:
    """A field is 12 digit pixels wide, with an upper margin of two."""
    distance = few().ink.distance[few().ink.traceable]
    assert 3 < distance.max() < 12
    assert distance[:, :, 0].min() > 1
