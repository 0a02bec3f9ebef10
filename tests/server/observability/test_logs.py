"""Log formats, access log and quoting of what clients send."""

import json
import logging
from typing import Any

import httpx
import pytest

from tessella.server.observability.logs import JsonFormatter, configure_logging, log_access
from tessella.server.settings import Settings

from ...support import pictures
from ...support.gated_runner import GatedRunner
from ...support.live import gated


def formatted(record: logging.LogRecord) -> dict[str, Any]:
    line = JsonFormatter().format(record)
    assert "\n" not in line
    document: dict[str, Any] = json.loads(line)
    return document


def test_json_record_is_one_line() -> None:
    try:
        raise ValueError("line one\nline two")
    except ValueError as error:
        record = logging.LogRecord("a.b", logging.ERROR, "", 0, "failed: %s", ("x\ny",), (type(error), error, None))
    record.created, record.msecs = 0.25, 250.0
    document = formatted(record)
    assert document["time"] == "1970-01-01T00:00:00.250Z"
    assert (document["level"], document["logger"], document["message"]) == ("error", "a.b", "failed: x\ny")
    assert "line two" in document["exception"]


def test_fetched_urls_are_not_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)  # would remove pytest's handlers
    monkeypatch.setattr(logging.getLogger("httpx"), "level", logging.DEBUG)
    configure_logging("text")
    assert logging.getLogger("httpx").level == logging.WARNING


def test_access_log_is_optional(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "tessella.access")
    for access_log in (True, False):
        with gated(GatedRunner(), Settings(model=("gated",), access_log=access_log)) as live:
            image = pictures.encode(pictures.gradient())
            httpx.post(f"{live.url}/classify", content=image, headers={"x-request-id": "me"})
            httpx.get(f"{live.url}/nowhere")
    answered, missing = (formatted(record) for record in caplog.records if record.name == "tessella.access")
    assert (answered["request_id"], answered["status"], answered["batch_size"]) == ("me", 200, 1)
    assert 0 < answered["inference_ms"] < answered["total_ms"]
    assert (missing["path"], missing["status"]) == ("/nowhere", 404)


def test_client_input_stays_within_its_field(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "tessella.access")
    log_access(method="GET", path='/a\n12:00:00 INFO fake\x1b[2J "é', status=404)
    log_access(path="/a status=200")
    first, second = (record.getMessage() for record in caplog.records)
    assert first == r'method=GET path="/a\n12:00:00 INFO fake\u001b[2J \"\u00e9" status=404'
    assert second == 'path="/a status=200"'
