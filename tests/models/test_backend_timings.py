"""Backend timings: what is written is read, and a table that does not apply is ignored with one line."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tessella.models import backend_timings, cpu
from tessella.models import cache as caches
from tessella.models.backend_timings import (
    Entry,
    MeasuredChoice,
    default_path,
    describe_machine,
    load_table,
    plain,
    relative_spread,
    save_table,
)
from tessella.models.cache import CacheError

from ..support.exports import TNT, VIT

CONFIG = plain({"config": asdict(VIT)})


def entry(dtype: str = "float32", backend: str = "torch", rate: float = 10.0, network: str = "v") -> Entry:
    return Entry(network, CONFIG, dtype, MeasuredChoice(backend, "measured here", {backend: (rate, 2 * rate)}, 8))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    backend_timings._warn_once.cache_clear()
    return tmp_path / "cache" / "tessella"


def test_what_is_saved_is_loaded(cache: Path, tmp_path: Path) -> None:
    assert load_table() is None
    saved = save_table(default_path(), [entry()])
    assert default_path() == cache / "backend-timings.json"
    assert load_table() == saved
    assert list(cache.iterdir()) == [default_path()], "no drafts are left"
    assert load_table(default_path()) == saved
    given = save_table(tmp_path / "t.json", [entry(backend="openvino")])
    assert load_table(tmp_path / "t.json") == given != saved


def test_entries_are_found_by_configuration_and_dtype(tmp_path: Path) -> None:
    table = save_table(tmp_path / "t.json", [entry("float32"), entry("bfloat16", rate=11)])
    assert table.find({"config": asdict(VIT)}, "float32") == entry("float32")
    assert table.find({"config": asdict(VIT)}, "bfloat16") == entry("bfloat16", rate=11)
    assert table.find({"config": asdict(VIT)}, "float16") is None
    assert table.find({"config": asdict(TNT)}, "float32") is None


@pytest.mark.parametrize(("rate", "dtype"), [(11.0, "float32"), (12.0, "bfloat16")])
def test_auto_takes_bfloat16_where_it_is_measured_to_gain_15_percent(rate: float, dtype: str, tmp_path: Path) -> None:
    table = save_table(tmp_path / "t.json", [entry("float32"), entry("bfloat16", rate=rate)])
    assert (found := table.find(CONFIG, "auto")) is not None
    assert found.dtype == dtype


def test_a_second_run_adds_and_replaces(tmp_path: Path) -> None:
    save_table(tmp_path / "t.json", [entry("float32"), entry("bfloat16")])
    save_table(tmp_path / "t.json", [entry("bfloat16", "openvino", 99)])
    table = load_table(tmp_path / "t.json")
    assert table is not None
    assert table.entries == (entry("float32"), entry("bfloat16", "openvino", 99))


def other_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "name", lambda: "Another CPU")


def other_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "usable_cores", lambda: 97)


def other_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend_timings, "version", lambda name: "0.0" if name == "openvino" else "unknown")


def missing_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend_timings, "installed", lambda name: name != "onnxruntime")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_cpu, "not Another CPU"),
        (other_cores, "not 97"),
        (other_version, "not unknown"),
        (missing_runtime, "measured with onnxruntime"),
    ],
)
def test_a_table_of_another_machine_is_ignored_with_one_line(
    change: Callable[[pytest.MonkeyPatch], None],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    save_table(default_path(), [entry()])
    change(monkeypatch)
    assert load_table() is None
    assert load_table() is None
    (record,) = caplog.records
    assert str(default_path()) in record.getMessage()
    assert "are ignored" in record.getMessage()
    assert message in record.getMessage()
    assert "\n" not in record.getMessage()
    save_table(default_path(), [entry(network="new")])
    table = load_table()
    assert table is not None
    assert [found.network for found in table.entries] == ["new"], "entries of another machine are not kept"


def damaged(**changes: Any) -> str:
    """Document with one entry; `subject` is changed in the entry, all else in its choice."""
    document: dict[str, Any] = json.loads(json.dumps(asdict(entry())))
    document["subject"] = changes.pop("subject", document["subject"])
    document["choice"] |= changes
    return json.dumps({"machine": describe_machine(), "entries": [document]})


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        '{"machine": [], "entries": []}',
        json.dumps({"machine": {"cpu": "x"}, "entries": []}),
        damaged(preferred_batch=None),
        damaged(preferred_batch=0),
        damaged(backend="cuda"),
        damaged(rates={}),
        damaged(rates={"torch": []}),
        damaged(rates={"torch": [1]}),
        damaged(rates={"torch": [0, 1]}),
        damaged(rates={"torch": [1, 2], "openvino": []}),
        damaged(subject=[]),
        damaged(later=1),
    ],
)
def test_a_broken_table_is_ignored_with_one_line(text: str, caplog: pytest.LogCaptureFixture) -> None:
    default_path().parent.mkdir(parents=True)
    default_path().write_text(text)
    assert load_table() is None
    assert load_table() is None
    assert len(caplog.records) == 1
    assert "are ignored" in caplog.text


def test_an_undamaged_document_is_read(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(damaged())
    assert load_table(tmp_path / "t.json") is not None


def test_a_file_that_is_no_text_is_ignored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "t.json").write_bytes(b"\xff\xfe\xff")
    assert load_table(tmp_path / "t.json") is None
    assert "are ignored" in caplog.text


def test_a_given_file_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no file .*t\.json"):
        load_table(tmp_path / "t.json")


def test_without_a_home_there_is_no_table(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_: int) -> NoReturn:
        raise KeyError("uid not found")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    assert load_table() is None
    with pytest.raises(CacheError, match="set XDG_CACHE_HOME"):
        caches.cache_folder("onnx")


def test_relative_spread() -> None:
    assert relative_spread([1.0]) == 0
    assert relative_spread([1.0, 2.0, 3.0]) == pytest.approx(0.25)
