"""Diagnosis: rows for hardware, packages, the backend rule, shipped models and the table of timings."""

import time
from pathlib import Path

import pytest

from tessella.models import doctor
from tessella.models.backend_rule import RUNTIMES, Machine
from tessella.models.backend_timings import Entry, MeasuredChoice, TimingsTable
from tessella.models.checkpoints.sources import shipped

TABLE = TimingsTable(Path("t"), (Entry("vit", {}, "float32", MeasuredChoice("torch", "fastest", {}, 8)),))


@pytest.fixture(autouse=True)
def stubs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_choice", lambda name, machine, table: f"choice of {name} with {table.path}")
    monkeypatch.setattr(doctor, "load_table", lambda path: TABLE)
    monkeypatch.setattr(doctor, "usable_cores", lambda: 3)


def test_rows_in_display_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "has_bfloat16", lambda: False)
    rows = doctor.diagnose()
    assert [subject for subject, _ in rows] == [
        *("tessella", "python", "cpu", "gpu"),
        *doctor.PACKAGES,
        "large networks on the cpu",
        *shipped(),
        "measured vit",
    ]
    findings = dict(rows)
    assert "3 for this process; no bfloat16 instructions" in findings["cpu"]
    assert findings[shipped()[0]] == f"choice of {shipped()[0]} with t"
    assert findings["measured vit"] == "float32: fastest"
    assert "CPUExecutionProvider" in findings["onnxruntime"]


def test_missing_packages_are_rows_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "installed", lambda package: False)
    findings = dict(doctor.diagnose())
    assert {findings[package] for package in doctor.PACKAGES} == {"not installed"}
    assert findings["gpu"] == "unknown, as torch is not installed"


@pytest.mark.parametrize(
    ("runtimes", "bfloat16", "finding"),
    [
        (RUNTIMES, True, "the rule for CPUs chose openvino, bfloat16 and batches of up to 8"),
        (
            ("torch", "onnxruntime"),
            False,
            "the rule for CPUs chose onnxruntime, float32 and batches of up to 8; "
            "openvino would be faster: pip install 'tessella[onnx,openvino]'",
        ),
    ],
)
def test_the_rule_names_the_extra_that_would_be_faster(
    runtimes: tuple[str, ...], bfloat16: bool, finding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(bfloat16=bfloat16, cores=2, runtimes=frozenset(runtimes), exports=True)
    monkeypatch.setattr(Machine, "current", lambda: machine)
    assert dict(doctor.diagnose())["large networks on the cpu"] == finding


def test_nothing_is_timed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(time, "perf_counter", lambda: pytest.fail("timed"))
    assert "for a small network" in dict(doctor.diagnose())[shipped()[0]]
