"""The log: one JSON object a line, on standard output."""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime, timezone

#: The attribute of a log record with more fields.
FIELDS = "fields"


class JsonFormatter(logging.Formatter):
    """Writes a record as a JSON object; values from requests cannot break out of their strings."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        content: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, FIELDS, {}),
        }
        if record.exc_info:
            content["exception"] = self.formatException(record.exc_info)
        return json.dumps(content)


def configure_logging(level: str) -> None:
    """Send the log of the whole process to standard output."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(handlers=[handler], level=level, force=True)
    if level != "DEBUG":  # it tells of every start and stop twice
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
