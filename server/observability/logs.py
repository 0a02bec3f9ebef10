"""Log lines: human-readable text, or one JSON object per line."""

import json
import logging
import time
from typing import Literal

LogFormat = Literal["text", "json"]
ACCESS = logging.getLogger("tessella.access")
_TEXT = logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")


class JsonFormatter(logging.Formatter):
    """JSON object: `time` (UTC, ISO 8601), `level`, `logger`, `message`, extra `fields`, `exception` (traceback)."""

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
    """Log one request: `name=value` pairs as text, and `fields` for JSON."""
    line = " ".join(f"{name}={_quote(value)}" for name, value in fields.items())
    ACCESS.info("%s", line, extra={"fields": fields})


def _quote(value: str | float) -> str:
    """Quote a value that could pass for another field, another line or a terminal escape sequence."""
    text = str(value)
    return text if text.isprintable() and not set(text) & {" ", '"'} else json.dumps(text)


def configure_logging(log_format: LogFormat) -> None:
    """Configure logging of this process to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if log_format == "json" else _TEXT)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in ("uvicorn", "httpx"):  # httpx logs every URL, which may contain a signature
        logging.getLogger(name).setLevel(logging.WARNING)
