"""Tables of launch configurations: valid ones are used, stale and broken ones ignored with a warning."""

import json
import warnings
from pathlib import Path

import pytest

from tessella.kernels.device import Gpu
from tessella.kernels.tuning import tables
from tessella.kernels.tuning.heuristics import LaunchConfig

H200 = Gpu("NVIDIA H200", 90, 132)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tables, "FOLDER", tmp_path)
    monkeypatch.setattr(tables, "_tables", {})
    return tmp_path


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


def test_a_missing_table_is_logged_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        descriptions = {tables.describe_tuning(H200) for _ in range(2)}
    assert caplog.messages == [
        "launch configurations by a heuristic: NVIDIA H200 has no table yet; `tessella tune` writes one"
    ]
    assert descriptions.pop().startswith(
        "launch configurations by a heuristic, as none were measured on NVIDIA H200 with"
    )
    tables.set_table(H200, tables.new_table(H200))
    assert tables.describe_tuning(H200).startswith("launch configurations as measured on NVIDIA H200 with triton")


def test_the_tables_that_ship_can_be_read() -> None:
    for path in tables.FOLDER.glob("*.json"):
        document = json.loads(path.read_text())
        assert set(document) == {"gpu", "triton", "sources", "entries", "choices"}
        for entry in document["entries"].values():
            LaunchConfig(**entry)
