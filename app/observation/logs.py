"""How the server writes its log: each line with the id of its request, as text or as JSON; never what was asked."""

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal

LogFormat = Literal["text", "json"]

access_log = logging.getLogger("sightline.access")
"""A line for each request: its path without what is asked there."""

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""Of the request that is worked on, in its threads, too; empty elsewhere."""


class TextFormatter(logging.Formatter):
    """A line for people; what belongs to a request ends with the id of it."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        """See `logging.Formatter`."""
        id_ = request_id.get()
        return super().formatMessage(record) + (f" [{id_}]" if id_ else "")


class JsonFormatter(logging.Formatter):
    """An object on a line of its own; `extra={"fields": {...}}` adds to it."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if id_ := request_id.get():
            entry["request_id"] = id_
        entry |= getattr(record, "fields", {})
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


def write_logs(log_format: LogFormat, *, with_access: bool) -> None:
    """Send the logs of this process to stderr; uvicorn's, too, but for its lines of requests, which tell queries."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(handlers=[handler], force=True)
    for name in ("sightline", "uvicorn"):
        logging.getLogger(name).setLevel(logging.INFO)
    access_log.disabled = not with_access
