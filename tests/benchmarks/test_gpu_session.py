"""GPU session (`make gpu`) without a GPU: what it runs, that it resumes, and what it reports as missing or failed."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from tessella.benchmarks import gpu_session, plots
from tessella.benchmarks.networks import cuda_graphs
from tessella.benchmarks.operators import cuda_timer, measure, sub_blocks, tune, tuning_jobs
from tessella.kernels.device import assume_gpu

from ..support.tiny_networks import CEILING, CPU, H200, TINY, constant_timer, failing_timer, use_tiny_networks


@pytest.fixture(autouse=True)
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_tiny_networks(tmp_path / "configs", monkeypatch)
    monkeypatch.setattr(cuda_timer, "measure_ceiling", lambda: CEILING)
    for module in (tuning_jobs, measure, cuda_graphs):
        monkeypatch.setattr(module, "config_of", lambda _: TINY)


def measured(
    folder: Path, seconds: float, timer: Callable[..., float], monkeypatch: pytest.MonkeyPatch
) -> tuple[list[str], list[str]]:
    """One run of everything except the tests, on one tiny network."""
    small: dict[str, Any] = {"architectures": ["tiny"], "batches": [1], "dtype": torch.float32, "timer": timer}
    with monkeypatch.context() as patch, assume_gpu(H200):
        patch.setattr(gpu_session, "tune", partial(tune.tune, **small | {"dtype": torch.float16}))
        patch.setattr(cuda_graphs, "measure", partial(cuda_graphs.measure, providers=("triton", "eager"), **small))
        patch.setattr(measure, "measure", partial(measure.measure, providers=("triton", "torch"), **small))
        return gpu_session._measure(CPU, folder, time.monotonic() + seconds)


def test_an_interrupted_run_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    remaining, _ = measured(tmp_path, -1, failing_timer, monkeypatch)
    assert len(remaining) == 7 + 2 + 2 + 11
    assert "inner blocks of tnt_s_patch16_224" in remaining
    for architecture in ("tnt_s", "tnt_b"):  # minutes on a CPU
        (tmp_path / f"tnt-inner-{architecture}_patch16_224.json").write_text("{}")
    assert measured(tmp_path, 600, constant_timer, monkeypatch) == ([], [])
    assert measured(tmp_path, 600, failing_timer, monkeypatch) == ([], [])
    assert len((tmp_path / "networks.jsonl").read_text().splitlines()) == 2
    assert len((tmp_path / "kernels.jsonl").read_text().splitlines()) == 2 * 11
    assert json.loads((tmp_path / "ceiling.json").read_text())["flops_per_second"] == 1e12
    assert "fused_qkv_attention  tiny  1  float32  triton" in capsys.readouterr().out


def test_a_failure_is_reported_and_the_others_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for architecture in ("tnt_s", "tnt_b"):
        (tmp_path / f"tnt-inner-{architecture}_patch16_224.json").write_text("{}")
    monkeypatch.setattr(sub_blocks.SubBlock, "triton", lambda half: lambda: half.torch()() * 1.01)
    remaining, failures = measured(tmp_path, 600, constant_timer, monkeypatch)
    assert remaining == []
    assert [failure.split(" at ")[0] for failure in failures] == [
        "fused_qkv_attention of tiny",
        "layernorm_mlp of tiny",
    ]
    assert len((tmp_path / "kernels.jsonl").read_text().splitlines()) == 2 * 9


def test_a_machine_with_a_gpu_needs_torch_and_triton_only() -> None:
    blocked = (
        "rich",
        "typer",
        "timm",
        "torchvision",
        "matplotlib",
        "pydantic",
        "fastapi",
        "PIL",
        "onnx",
        "transformers",
    )
    program = f"import sys; sys.modules.update(dict.fromkeys({blocked})); import tessella.benchmarks.gpu_session as gpu"
    program += "; sys.argv[1:] = []; print(gpu.main())"
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False
    )
    assert result.stdout.splitlines() == ["no NVIDIA GPU found: nothing can be measured", "2"], result.stderr


def test_every_gpu_test_is_in_one_start_shard() -> None:
    """Selected by the dtype in the ids of parametrised tests."""
    names = ["test_a[torch.bfloat16]", "test_a[torch.float16]", "test_a[torch.float32]", "test_a[8]"]

    def selects(expression: str, name: str) -> bool:
        included, _, excluded = expression.removeprefix("not ").partition(" and not ")
        matches = included in name and not (excluded and excluded in name)
        return matches != expression.startswith("not ")

    assert [[selects(shard, name) for shard in gpu_session.SHARDS].count(True) for name in names] == [1] * 4
    assert {path.name for path in Path(__file__).parents[1].rglob("test_*gpu.py")} >= {
        "test_folded_vit_gpu.py",
        "test_folded_tnt_gpu.py",
    }


def test_a_failing_shard_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "test_x_gpu.py"
    file.write_text("import pytest\n@pytest.mark.gpu\ndef test_bfloat16(): assert 1 == 2\n")
    assert not gpu_session._passed(*gpu_session._start_shard(file, "bfloat16"), 60)
    assert "assert 1 == 2" in capsys.readouterr().out
    assert gpu_session._passed(*gpu_session._start_shard(file, "float32"), 60)


def test_the_plot_has_a_row_per_network(tmp_path: Path) -> None:
    rows, _ = measure.measure(
        CPU,
        CEILING,
        architectures=["tiny"],
        batches=[1],
        dtype=torch.float32,
        providers=["triton", "torch"],
        timer=constant_timer,
    )
    plots.draw_kernels(measure.document(rows, CEILING, "cpu"), tmp_path / "kernels.svg")
    assert "patch_embed" in (tmp_path / "kernels.svg").read_text()
