"""The log: a JSON object a line on standard output, written in batches."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from datetime import datetime, timezone
from typing import TextIO

#: The attribute of a log record with more fields.
FIELDS = "fields"
#: Seconds that a line waits for others. Each write is a system call, with the event loop waiting for it.
WRITE_EVERY_S = 0.1
#: Lines that are written without waiting any longer: some 100 kB.
MAX_WAITING_LINES = 250


class JsonFormatter(logging.Formatter):
    """Writes a record as a JSON object; values from requests cannot break out of their strings."""

    def format(self, record: logging.LogRecord) -> str:
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


class BatchHandler(logging.Handler):
    """Writes to ``stream`` at once what is a warning, is many lines, or comes from outside an event loop: at the end of
    the process, for example, so that nothing is lost there. What a full disk does not take is lost, counted, and told
    when there is room again; nothing else fails by it.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._waiting: list[str] = []
        #: Lines that could not be written since the last that could.
        self._lost = 0
        #: The loop that will write what waits. One that has ended does not.
        self._writer: asyncio.AbstractEventLoop | None = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._waiting.append(self.format(record) + "\n")
            loop = _running_loop()
            if loop is None or record.levelno >= logging.WARNING or len(self._waiting) >= MAX_WAITING_LINES:
                self.flush()
            elif loop is not self._writer:
                self._writer = loop
                loop.call_later(WRITE_EVERY_S, self.flush)
        except Exception:  # noqa: BLE001 - as all handlers do: the log fails no request
            self.handleError(record)

    def flush(self) -> None:
        self.acquire()
        try:
            lines, self._waiting, self._writer = self._waiting, [], None
            self._write(lines)
        finally:
            self.release()

    def _write(self, lines: list[str]) -> None:
        if self._lost and lines:
            text = "%d lines of this log could not be written before this one"
            told = logging.LogRecord(__name__, logging.ERROR, __file__, 0, text, (self._lost,), None)
            # First an end for a line that was cut.
            lines = ["\n", self.format(told) + "\n", *lines]
        try:
            self._stream.write("".join(lines))
            self._stream.flush()
        except OSError:
            self._lost += len(lines) - 2 * bool(self._lost and lines)
        else:
            self._lost = 0


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def configure_logging(level: str) -> None:
    """Send the log of the whole process to standard output."""
    handler = BatchHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(handlers=[handler], level=level, force=True)
    # What no line says need not be found out for each.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # https://docs.python.org/3/howto/logging.html#optimization
    if level != "DEBUG":  # it reports every start and stop twice
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
