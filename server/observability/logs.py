"""Log lines: for people, or one JSON object each for machines."""

import json
import logging
import time
from typing import Literal

LogFormat = Literal["text", "json"]
ACCESS = logging.getLogger("tessella.access")
_TEXT = logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")


class JsonFormatter(logging.Formatter):
    """`time` (UTC, ISO 8601), `level`, `logger`, `message`, the record's `fields`, an `exception` with its trace."""

    def format(self, record: logging.LogRecord) -> str:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        document = {
            "time": f"{seconds}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document, default=str)


def log_access(**fields: str | float) -> None:
    """One line for one request: `name=value` for people, `fields` for machines."""
    line = " ".join(f"{name}={_on_one_line(value)}" for name, value in fields.items())
    ACCESS.info("%s", line, extra={"fields": fields})


def _on_one_line(value: str | float) -> str:
    """As it is, or quoted where a client could make it look like another field, another line or a terminal command."""
    text = str(value)
    return text if text.isprintable() and not set(text) & {" ", '"'} else json.dumps(text)


def configure_logging(form: LogFormat) -> None:
    """Sets up this process's logging, on standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if form == "json" else _TEXT)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in ("uvicorn", "httpx"):  # httpx logs every URL, which may hold a signature
        logging.getLogger(name).setLevel(logging.WARNING)
