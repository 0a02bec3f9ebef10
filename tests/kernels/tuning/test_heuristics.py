"""Launch configurations: what the heuristic picks fits the GPU; a table counts only where it was measured."""

import json
import warnings
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from tessella.kernels.device import Gpu, assume_gpu
from tessella.kernels.tuning import heuristics, tables, tnt_heuristics
from tessella.kernels.tuning.heuristics import LaunchConfig

CUDA = torch.device("cuda")
H200 = Gpu("NVIDIA H200", 90, 132)
GPUS = [Gpu("A100", 80, 108), Gpu("L4", 89, 58), H200, Gpu("B200", 100, 148), Gpu("RTX 5090", 120, 170)]
SHAPES = [
    (197 * batch, columns, depth) for batch in (1, 8, 256) for columns, depth in ((2304, 768), (768, 3072), (10, 64))
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tables, "FOLDER", tmp_path)
    monkeypatch.setattr(tables, "_tables", {})
    return tmp_path


@pytest.mark.parametrize("gpu", GPUS, ids=lambda gpu: gpu.name)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
def test_every_choice_fits_the_gpu(gpu: Gpu, dtype: torch.dtype) -> None:
    with assume_gpu(gpu):
        for rows, columns, depth in SHAPES:
            config = heuristics.linear(rows, columns, depth, dtype, CUDA)
            assert config.shared_memory(dtype.itemsize) <= gpu.shared_memory
            for candidate in heuristics.candidates("linear", gpu, rows, columns, depth):
                assert candidate.shared_memory(itemsize=2) <= gpu.shared_memory
                assert gpu.arch >= 90 or not candidate.pdl


def test_what_a_kernel_cannot_do_is_not_tried() -> None:
    """Dependent launch pays, where it does, at few rows; the product of TNT's words neither waits nor splits."""
    shape = (197, 768, 768)
    assert any(config.pdl for config in heuristics.candidates("linear", H200, *shape))
    assert tnt_heuristics.candidates("tnt_project", H200, *shape)
    for config in tnt_heuristics.candidates("tnt_project", H200, *shape):
        assert (config.split_k, config.pdl) == (1, False)


def test_few_rows_split_the_depth_and_many_do_not() -> None:
    with assume_gpu(H200):
        assert heuristics.linear(1, 768, 3072, torch.bfloat16, CUDA).split_k > 1
        assert heuristics.linear(50432, 768, 3072, torch.bfloat16, CUDA).split_k == 1


def test_batch_invariance_is_one_configuration_for_all_batches() -> None:
    with assume_gpu(H200):
        configs = {
            heuristics.linear(rows, 768, 3072, torch.bfloat16, CUDA, batch_invariant=True) for rows in (1, 197, 50432)
        }
    assert len(configs) == 1
    assert configs.pop().split_k == 1


def test_a_measured_configuration_is_taken(folder: Path) -> None:
    config = LaunchConfig(64, 128, 32, num_warps=8, num_stages=2, pdl=True)
    table = tables.new_table(H200)
    table.entries[tables.entry_key("linear", 197, 768, 768, torch.bfloat16)] = asdict(config)
    table.save(tables.table_path(H200))
    with assume_gpu(H200):
        assert heuristics.linear(197, 768, 768, torch.bfloat16, CUDA) == config
        assert heuristics.linear(198, 768, 768, torch.bfloat16, CUDA) != config


def test_a_table_may_name_its_buckets(folder: Path) -> None:
    table = tables.new_table(H200)
    table.save(path := tables.table_path(H200))
    assert tables.batch_buckets(H200) == ()
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document | {"buckets": [1, 3, 24]}))
    tables._tables.clear()
    assert tables.batch_buckets(H200) == (1, 3, 24)
    del document["buckets"]
    path.write_text(json.dumps(document))
    tables._tables.clear()
    assert tables.table_for(H200) == table, "older tables have none"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"triton": "1.0"}, "measured with triton version 1.0, here it is"),
        ({"sources": "0"}, "measured with kernel sources 0, here it is"),
        ({"gpu": "NVIDIA H100"}, "measured with GPU NVIDIA H100, here it is NVIDIA H200"),
        ({"entries": {"linear": {"block_m": 1, "colour": 2}}}, "entry 'linear' is not a launch configuration"),
        ({"entries": {"linear": {"block_m": "16", "block_n": 16}}}, "entry 'linear' is not a launch configuration"),
        ({"entries": [1]}, "its entries or choices are not JSON objects"),
        ({"choices": {"half": "cublas"}}, "choice 'half' is 'cublas', not one of ahead, overlapped, torch, triton"),
        ({"buckets": [1, 4, 2]}, "its buckets are .1, 4, 2., not ascending batch sizes"),
        ({"buckets": [0, 1]}, "its buckets are .0, 1., not ascending batch sizes"),
        ({"buckets": ["1"]}, "its buckets are .'1'., not ascending batch sizes"),
        ({"buckets": {"1": 2}}, "its buckets are .'1': 2., not ascending batch sizes"),
        ({"extra": 1}, "it is not a table of launch configurations"),
        (None, "Expecting value"),
    ],
)
def test_a_stale_or_broken_table_is_ignored_with_a_warning(
    folder: Path, change: dict[str, object] | None, message: str
) -> None:
    path = tables.table_path(H200)
    tables.new_table(H200).save(path)
    path.write_text("no table" if change is None else json.dumps(json.loads(path.read_text()) | change))
    with pytest.warns(UserWarning, match=f"nvidia-h200.json is ignored.*{message}"):
        assert tables.table_for(H200) is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert tables.table_for(H200) is None


def test_without_a_table_the_heuristic_says_once_that_it_is_used(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        said = {tables.describe_tuning(H200) for _ in range(2)}
    assert caplog.messages == [
        "launch configurations by a heuristic: NVIDIA H200 has no table yet; `tessella tune` writes one"
    ]
    assert said.pop().startswith("launch configurations by a heuristic, as none were measured on NVIDIA H200 with")
    tables.set_table(H200, tables.new_table(H200))
    assert tables.describe_tuning(H200).startswith("launch configurations as measured on NVIDIA H200 with triton")


def test_the_tables_that_ship_can_be_read() -> None:
    for path in tables.FOLDER.glob("*.json"):
        document = json.loads(path.read_text())
        assert set(document) == {"gpu", "triton", "sources", "entries", "choices"}
        for entry in document["entries"].values():
            LaunchConfig(**entry)
