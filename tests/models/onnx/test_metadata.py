"""What is said beside a file of other makers: put together, and refused before the first image where it is useless."""

import json
from pathlib import Path
from typing import Any

import pytest

from tessella.models.errors import CheckpointError
from tessella.models.onnx.onnxruntime_model import OnnxSession

from ...support.exports import write_foreign
from .test_onnxruntime_model import NORMALISED, SIDECAR, write_sidecar


def test_what_our_own_sidecar_lacks_is_in_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a file that is named from within its folder has the same neighbours."""
    (tmp_path / "onnx").mkdir()
    (tmp_path / "config.json").write_text(json.dumps({"id2label": {"0": "w", "1": "x", "2": "y", "3": "z"}}))
    file = write_foreign(tmp_path / "onnx" / "m.onnx")
    file.with_suffix(".json").write_text(json.dumps({"preprocessing": SIDECAR["preprocessing"]}))
    monkeypatch.chdir(file.parent)
    card = OnnxSession(Path("m.onnx")).card
    assert card.labels == ("w", "x", "y", "z")
    assert card.preprocessing.mean == (0.1, 0.2, 0.3)


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"resize": 10, "std": [1, 1, 1]}, "does not state mean"),
        ([1], r"a JSON object, not \[1\]"),
        (NORMALISED | {"mode": "stretch"}, "mode 'stretch' is not one of shortest, squash"),
        (NORMALISED | {"interpolation": "cubic"}, "interpolation 'cubic' is not one of .*bicubic"),
        (NORMALISED | {"crop": "up"}, "crop 'up' is not one of even, floor"),
        (NORMALISED | {"resize": 10.5}, r"resize is 10\.5, not a whole number of pixels"),
        (NORMALISED | {"mean": 0.5}, r"mean is 0\.5, not three numbers"),
        (NORMALISED | {"mean": [0.5, 0.5]}, "mean is .*, not three numbers"),
        (NORMALISED | {"std": ["a", 1, 1]}, "std is .*, not three numbers"),
    ],
)
def test_a_value_that_is_of_no_use_is_named(stated: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=f"preprocessing cannot be read: .*{message}"):
        OnnxSession(write_sidecar(write_foreign(tmp_path / "m.onnx"), preprocessing=stated))


def test_a_size_that_nobody_states_is_asked_for(tmp_path: Path) -> None:
    file = write_sidecar(write_foreign(tmp_path / "m.onnx", ("n", 3, "h", "w")))
    with pytest.raises(CheckpointError, match="does not state size"):
        OnnxSession(file)
    write_sidecar(file, preprocessing=NORMALISED | {"size": 9})
    assert OnnxSession(file).card.preprocessing.size == 9
