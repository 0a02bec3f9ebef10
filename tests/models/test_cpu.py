"""CPU properties: bfloat16 instructions, and cores within a container's quota."""

from pathlib import Path

import pytest

from tessella.models.cpu import has_bfloat16, usable_cores


@pytest.mark.parametrize(
    ("flags", "has"),
    [
        ("flags\t\t: fpu avx2 avx512_bf16", True),
        ("flags: amx_bf16 amx_tile", True),
        ("Features\t: fp asimd bf16", True),
        ("flags: avx2 avx512f", False),
        ("model name: bf16", False),
        ("", False),
    ],
)
def test_bfloat16_is_read_from_cpuinfo(flags: str, has: bool, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor : 0\n{flags}\n")
    assert has_bfloat16(tmp_path / "cpuinfo") is has
    assert has_bfloat16(tmp_path / "absent") is False


@pytest.mark.parametrize(("quota", "cores"), [("max 100000", 8), ("250000 100000", 3), ("50000 100000", 1), ("", 8)])
def test_cores_are_those_of_the_container(
    quota: str, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)), raising=False)
    (tmp_path / "cpu.max").write_text(quota)
    assert usable_cores(tmp_path / "cpu.max") == cores
    assert usable_cores(tmp_path / "absent") == 8
