"""Results tables: rows are on disk as soon as they are measured, and a later run reads them."""

import json
from dataclasses import dataclass
from pathlib import Path

from tessella.benchmarks.report import ResultsTable


@dataclass(frozen=True)
class Row:
    name: str
    seconds: float

    @property
    def key(self) -> tuple[str]:
        return (self.name,)


def test_a_table_resumes_an_earlier_run(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "rows.jsonl"
    first = ResultsTable(Row, path)
    first.append(Row("a", 1.5))
    first.append(Row("b", 2.5))
    assert first.known_keys == set()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["name"], line["seconds"]) for line in lines] == [("a", 1.5), ("b", 2.5)]
    assert {"date", "device", "torch"} <= lines[0].keys()
    second = ResultsTable(Row, path)
    assert second.rows == [Row("a", 1.5), Row("b", 2.5)]
    assert second.known_keys == {("a",), ("b",)}


def test_a_table_without_a_file_is_in_memory() -> None:
    table = ResultsTable(Row, None)
    table.append(Row("a", 1.5))
    assert table.rows == [Row("a", 1.5)]
