"""Parity reports: differences of logits, their tolerance, and the message of a failed check."""

from pathlib import Path

import numpy as np
import pytest

from tessella.models.networks.build import build
from tessella.models.onnx import verify as verification
from tessella.models.onnx.verify import TOLERANCE, ExportError, Parity, ParityReport, plain_logits, verify
from tessella.models.preprocessing.preprocess import Preprocessing

from ...support.exports import VIT
from ...support.references import randomise

PREPROCESSING = Preprocessing(size=32, resize=40, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25))


def test_parity_of_logits() -> None:
    expected = np.array([[1.0, -4.0], [2.0, 0.0], [3.0, 1.0], [0.0, 1.0]])
    actual = expected + np.array([[0.1, 0.0], [0.0, -0.3], [0.0, 2.5], [0.0, 0.0]])
    parity = Parity.of(actual, expected)
    assert parity.largest == pytest.approx(2.5)
    assert (parity.scale, parity.agreement) == (4.0, 0.75)
    assert parity.summary == "2.5e+00 of logits up to 4, top-1 agreement 75%"


@pytest.mark.parametrize(("scale", "limit"), [(10.0, 1.0), (0.1, 0.1)])
def test_the_tolerance_is_relative_to_the_largest_logit_or_one(scale: float, limit: float) -> None:
    assert Parity(largest=limit, scale=scale, agreement=1.0).within(0.1)
    assert not Parity(largest=1.01 * limit, scale=scale, agreement=1.0).within(0.1)


class Shifted:
    """Runtime stand-in: the network's logits, off by a constant."""

    backend = "shifted"

    def __init__(self, network: object, shift: float) -> None:
        self._network, self._shift = network, shift

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        return plain_logits(self._network, pixels, PREPROCESSING) + self._shift  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_a_difference_above_the_tolerance_fails(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = randomise(build(VIT))
    scale = max(1.0, verify_with(network, 0.0, dtype, monkeypatch).scale)
    report = verify_with(network, 0.5 * TOLERANCE[dtype] * scale, dtype, monkeypatch)
    assert report.count == 12
    assert "shifted against PyTorch float32 on 12" in str(report)
    with pytest.raises(ExportError, match="does not reproduce the network's logits, and was removed: shifted against"):
        verify_with(network, 2 * TOLERANCE[dtype] * scale, dtype, monkeypatch)


def verify_with(network: object, shift: float, dtype: str, monkeypatch: pytest.MonkeyPatch) -> ParityReport:
    monkeypatch.setattr(verification, "_load", lambda path, dtype: Shifted(network, shift))
    return verify(Path("m.onnx"), network, PREPROCESSING, dtype)  # type: ignore[arg-type]
