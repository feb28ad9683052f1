"""The lines of a stack's logs, whoever wrote them, with their times."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from operator import attrgetter
from pathlib import Path

#: Seconds between two reads of logs that are followed.
FOLLOW_S = 0.3
#: ``2026-11-24T15:25:00,431 [INFO ] W-9000-resnet18_1.0 org.pytorch.serve.wlm.WorkerThread - text``
_TORCHSERVE = re.compile(
    r"^(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d,\d{3}) \[(?P<level>\w+) *\] "
    r"(?P<origin>\S+) (?P<logger>\S+) - ?(?P<text>.*)$"
)
TRACEBACK = "Traceback (most recent call last):"
_KNOWN = ("time", "level", "logger", "message", "exception")
_ERROR_LEVELS = ("WARN", "WARNING", "ERROR", "FATAL", "CRITICAL")
#: TorchServe logs all that a worker prints as INFO.
_ERROR_TEXT = re.compile(
    r"^(Traceback \(most recent call last\):|\S*(Error|Exception)\b.*:|Backend worker process died)"
)


@dataclass(frozen=True)
class LogLine:
    """One line; those without a head of their own continue the one before and share its time, level and origin."""

    time: datetime
    source: str
    level: str
    #: TorchServe's thread, such as ``W-9000-resnet18_1.0-stdout``, or the web service's logger.
    origin: str
    text: str

    @property
    def is_error(self) -> bool:
        return self.level in _ERROR_LEVELS or _ERROR_TEXT.match(self.text) is not None

    def as_json(self) -> dict[str, str]:
        return {
            "time": self.time.isoformat(timespec="milliseconds"),
            "source": self.source,
            "level": self.level,
            "origin": self.origin,
            "message": self.text,
        }


def log_files(logs: Path) -> list[Path]:
    """The present logs of a stack; not their predecessors, nor TorchServe's line a request: the web log says more."""
    return sorted(file for file in logs.glob("*.log") if not re.search(r"^access_log\.log$|\.\d+\.log$", file.name))


def merged(logs: Path) -> list[LogLine]:
    """All lines of the present logs in the order of their times."""
    return sorted((line for file in log_files(logs) for line in read_lines(file)), key=attrgetter("time"))


def read_lines(file: Path) -> Iterator[LogLine]:
    """The lines of one file; nothing where it has gone meanwhile."""
    try:
        content = file.read_text(encoding="utf-8", errors="replace")
        begun = datetime.fromtimestamp(file.stat().st_mtime, timezone.utc)
    except OSError:
        return
    yield from parse_lines(content.splitlines(), file.stem, begun)


def parse_lines(lines: Iterable[str], source: str, begun: datetime) -> Iterator[LogLine]:
    """``begun`` is the time of lines before the first that carries one."""
    last = LogLine(begun, source, "", "", "")
    for line in lines:
        last = _parse(line, last)
        yield last


def _parse(line: str, last: LogLine) -> LogLine:
    match = _TORCHSERVE.match(line)
    if match is not None:
        # TorchServe writes the machine's local time.
        at = datetime.fromisoformat(match["time"].replace(",", ".")).astimezone()
        return LogLine(at, last.source, match["level"], match["origin"], match["text"])
    try:
        record = json.loads(line) if line.startswith("{") else {}
        at, level, message = datetime.fromisoformat(record["time"]), str(record["level"]), record["message"]
    except (ValueError, KeyError, TypeError):
        return replace(last, text=line)
    exception = str(record.get("exception", "")).strip()
    fields = " ".join(f"{key}={value}" for key, value in record.items() if key not in _KNOWN)
    text = "\n".join(part for part in (f"{message} {fields}".strip(), exception) if part)
    return LogLine(at, last.source, level, str(record.get("logger", "")), text)


class Follower:
    """What is written into the logs of one directory from now on."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        #: Inode and length of what was read of each file.
        self._read = {file: self._identity(file) for file in log_files(logs)}

    def follow(self) -> Iterator[LogLine]:
        while True:
            yield from self.new_lines()
            time.sleep(FOLLOW_S)

    def new_lines(self) -> list[LogLine]:
        """What was written since the last call, in the order of time."""
        lines = (line for file in log_files(self._logs) for line in self._new_lines_of(file))
        return sorted(lines, key=attrgetter("time"))

    def lines_of(self, file: Path) -> list[LogLine]:
        """What was written into one of the logs since the last call of ``new_lines``; it stays new."""
        return self._read_on(file)[0]

    def _new_lines_of(self, file: Path) -> list[LogLine]:
        lines, self._read[file] = self._read_on(file)
        return lines

    def _read_on(self, file: Path) -> tuple[list[LogLine], tuple[int, int]]:
        inode, done = self._read.get(file, (0, 0))
        now_inode, size = self._identity(file)
        if now_inode != inode or size < done:  # a new file under the old name
            done = 0
        try:
            with file.open("rb") as content:
                content.seek(done)
                text = content.read()
        except OSError:
            return [], (inode, done)
        whole = text[: text.rfind(b"\n") + 1]  # the rest of a line follows with the next read
        lines = parse_lines(whole.decode(errors="replace").splitlines(), file.stem, datetime.now(timezone.utc))
        return list(lines), (now_inode, done + len(whole))

    @staticmethod
    def _identity(file: Path) -> tuple[int, int]:
        try:
            status = file.stat()
        except OSError:
            return (0, 0)
        return (status.st_ino, status.st_size)
