"""Figure style: allowed suffixes, and files without a date."""

from pathlib import Path

import pytest

from tessella.models.visualization.figure import SUFFIXES, check_suffix, figure, save, styled


def test_other_suffixes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"a\.bmp: figures are written as \.png, \.svg, \.pdf"):
        check_suffix(Path("a.bmp"))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_equal_figures_are_equal_files(suffix: str, tmp_path: Path) -> None:
    files = [tmp_path / f"{name}{suffix}" for name in "ab"]
    for file in files:
        with styled():
            drawn = figure(2.0, 1.0)
            drawn.subplots().plot([1, 2], label="line")
            save(drawn, file)
    first, second = (file.read_bytes() for file in files)
    assert first == second
    assert len(first) > 500
