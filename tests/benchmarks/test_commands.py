"""Commands `bench` and `tune`: complete help, and what is printed beside the document."""

from pathlib import Path
from typing import Any

import pytest
import typer

from tessella.benchmarks import commands, plots
from tessella.benchmarks.networks import tune_backends


def test_bench_lists_its_commands_each_with_a_summary() -> None:
    group = typer.main.get_command(commands.bench)
    assert list(group.commands) == ["kernels", "models", "tnt-inner", "service"]  # type: ignore[attr-defined]


def test_a_missing_matplotlib_is_a_warning(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def draw(document: dict[str, Any], path: Path) -> None:
        raise plots.PlotUnavailable("no plot: install matplotlib")

    commands._draw(draw, {}, None)
    assert capsys.readouterr().err == ""
    commands._draw(draw, {}, tmp_path / "a.png")
    assert capsys.readouterr().err == "warning: no plot: install matplotlib\n"


def test_what_was_not_measured_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    commands._print_remaining([])
    assert capsys.readouterr().err == ""
    commands._print_remaining(["linear 1", "linear [2]"])
    assert capsys.readouterr().err == "not measured in time: 2\n  linear 1\n  linear [2]\n"


def test_bounds_are_printed_for_each_batch(capsys: pytest.CaptureFixture[str]) -> None:
    commands._print_bounds("h200", ["vit_tiny_patch16_224"], [1, 8])
    shown = capsys.readouterr().err
    assert "vit_tiny_patch16_224 on NVIDIA H200 SXM (datasheet): roofline bound" in shown.replace("\n", " ")
    with pytest.raises(ValueError, match="no datasheet for 'voodoo'; known GPUs are a100"):
        commands._print_bounds("voodoo", None, None)


def test_tune_on_a_cpu_prints_what_it_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[tuple[Any, ...]] = []

    def tune_cpu(*arguments: Any) -> list[str]:
        calls.append(arguments[:3])
        return ["v: [figures]", "t.json: 1 entries"]

    monkeypatch.setattr(tune_backends, "tune_cpu", tune_cpu)
    commands.tune(device="cpu", model=["v"], output=Path("t.json"))
    assert calls == [(["v"], None, Path("t.json"))]
    assert capsys.readouterr().err.endswith("v: [figures]\nt.json: 1 entries\n")


@pytest.mark.parametrize("options", [{"model": ["digits-vit"]}, {"output": Path("t.json")}])
def test_options_of_a_cpu_are_refused_on_a_gpu(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="need --device cpu"):
        commands.tune(**options)
