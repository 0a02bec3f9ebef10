"""`make gpu` without a GPU: what it would run, that it goes on where it stopped, and what it says of what it cannot."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from tessella.benchmarks import gpu_session, plots
from tessella.benchmarks.networks import cuda_graphs
from tessella.benchmarks.operators import cuda_timer, measure, sub_blocks, tune, tuning_jobs
from tessella.benchmarks.roofline import Ceiling
from tessella.kernels.device import Gpu, assume_gpu
from tessella.kernels.tuning import tables
from tessella.models.config import ViTConfig

TINY = ViTConfig(image_size=16, patch_size=8, dim=32, depth=2, heads=2, mlp_dim=64, num_classes=8)
CEILING = Ceiling("a GPU", 1e12, 1e11)
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "FOLDER", tmp_path / "configs")
    monkeypatch.setattr(tables, "_tables", {})
    monkeypatch.setattr(cuda_timer, "measure_ceiling", lambda: CEILING)
    for module in (tuning_jobs, measure, cuda_graphs):
        monkeypatch.setattr(module, "config_of", lambda _: TINY)


def measured(
    folder: Path, seconds: float, timer: Callable[..., float], monkeypatch: pytest.MonkeyPatch
) -> tuple[list[str], list[str]]:
    """One run of everything but the tests, over one tiny network."""
    small: dict[str, Any] = {"architectures": ["tiny"], "batches": [1], "dtype": torch.float32, "timer": timer}
    with monkeypatch.context() as patch, assume_gpu(Gpu("NVIDIA H200", 90, 132)):
        patch.setattr(gpu_session, "tune", partial(tune.tune, **small | {"dtype": torch.float16}))
        patch.setattr(cuda_graphs, "measure", partial(cuda_graphs.measure, providers=("triton", "eager"), **small))
        patch.setattr(measure, "measure", partial(measure.measure, providers=("triton", "torch"), **small))
        return gpu_session._measure(CPU, folder, time.monotonic() + seconds)


def test_a_run_that_is_cut_short_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    left, _ = measured(tmp_path, -1, never, monkeypatch)
    assert len(left) == 7 + 2 + 2 + 11
    assert "inner blocks of tnt_s_patch16_224" in left
    for architecture in ("tnt_s", "tnt_b"):  # minutes on a CPU
        (tmp_path / f"tnt-inner-{architecture}_patch16_224.json").write_text("{}")
    assert measured(tmp_path, 600, lambda runs: 1e-3, monkeypatch) == ([], [])
    assert measured(tmp_path, 600, never, monkeypatch) == ([], [])
    assert len((tmp_path / "networks.jsonl").read_text().splitlines()) == 2
    assert len((tmp_path / "kernels.jsonl").read_text().splitlines()) == 2 * 11
    assert json.loads((tmp_path / "ceiling.json").read_text())["flops_per_second"] == 1e12
    assert "fused_qkv_attention  tiny  1  float32  triton" in capsys.readouterr().out


def test_what_fails_is_told_and_the_rest_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for architecture in ("tnt_s", "tnt_b"):
        (tmp_path / f"tnt-inner-{architecture}_patch16_224.json").write_text("{}")
    monkeypatch.setattr(sub_blocks.SubBlock, "triton", lambda half: lambda: half.torch()() * 1.01)
    left, failures = measured(tmp_path, 600, lambda runs: 1e-3, monkeypatch)
    assert left == []
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
    """By the names that the dtypes they are parametrised with give them."""
    names = ["test_a[torch.bfloat16]", "test_a[torch.float16]", "test_a[torch.float32]", "test_a[8]"]

    def takes(what: str, name: str) -> bool:
        wanted, _, unwanted = what.removeprefix("not ").partition(" and not ")
        found = wanted in name and not (unwanted and unwanted in name)
        return found != what.startswith("not ")

    assert [[takes(what, name) for what in gpu_session.SHARDS].count(True) for name in names] == [1] * 4
    assert {path.name for path in Path(__file__).parents[1].rglob("test_*gpu.py")} >= {
        "test_folded_vit_gpu.py",
        "test_folded_tnt_gpu.py",
    }


def test_a_failing_shard_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "test_x_gpu.py"
    file.write_text("import pytest\n@pytest.mark.gpu\ndef test_bfloat16(): assert 1 == 2\n")
    assert not gpu_session._passed(*gpu_session._start_shard(file, "bfloat16"), 60)
    assert "assert 1 == 2" in capsys.readouterr().out
    assert gpu_session._passed(*gpu_session._start_shard(file, "float32"), 60)


def test_the_picture_has_a_row_per_network(tmp_path: Path) -> None:
    rows, _ = measure.measure(
        CPU,
        CEILING,
        architectures=["tiny"],
        batches=[1],
        dtype=torch.float32,
        providers=["triton", "torch"],
        timer=lambda _: 1e-3,
    )
    plots.draw_kernels(measure.document(rows, CEILING, "cpu"), tmp_path / "kernels.svg")
    assert "patch_embed" in (tmp_path / "kernels.svg").read_text()


def never(runs: Sequence[Callable[[], object]]) -> float:
    raise AssertionError("nothing is left to time")
