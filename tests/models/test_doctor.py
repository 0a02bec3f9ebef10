"""Diagnosis: rows for hardware, packages, shipped models and cached backend choices."""

import pytest

from tessella.models import doctor
from tessella.models.checkpoints.sources import shipped


@pytest.fixture(autouse=True)
def stubs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_choice", lambda name: f"choice of {name}")
    monkeypatch.setattr(doctor, "recorded_choices", lambda: ["vit: fastest"])
    monkeypatch.setattr(doctor, "usable_cores", lambda: 3)


def test_rows_in_display_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "has_bfloat16", lambda: False)
    rows = doctor.diagnose()
    assert [subject for subject, _ in rows] == [
        *("tessella", "python", "cpu", "gpu"),
        *doctor.PACKAGES,
        *shipped(),
        "measured",
    ]
    findings = dict(rows)
    assert "3 for this process; no bfloat16 instructions" in findings["cpu"]
    assert findings[shipped()[0]] == f"choice of {shipped()[0]}"
    assert findings["measured"] == "vit: fastest"
    assert "CPUExecutionProvider" in findings["onnxruntime"]


def test_missing_packages_are_rows_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "installed", lambda package: False)
    findings = dict(doctor.diagnose())
    assert {findings[package] for package in doctor.PACKAGES} == {"not installed"}
    assert findings["gpu"] == "unknown, as torch is not installed"
