"""The lines of a stack's logs, whoever wrote them, with their times."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

#: One line a request, which the web service's log tells better.
LEFT_OUT = ("access_log.log",)
#: ``2026-11-24T15:25:00,431 [INFO ] W-9000-resnet18_1.0 org.pytorch.serve.wlm.WorkerThread - text``
_TORCHSERVE = re.compile(
    r"^(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d,\d{3}) \[(?P<level>\w+) *\] "
    r"(?P<origin>\S+) (?P<logger>\S+) - ?(?P<text>.*)$"
)
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
        """Whether it tells of a problem."""
        return self.level in _ERROR_LEVELS or _ERROR_TEXT.match(self.text) is not None

    def as_json(self) -> dict[str, str]:
        """For ``--json``."""
        return {
            "time": self.time.isoformat(timespec="milliseconds"),
            "source": self.source,
            "level": self.level,
            "origin": self.origin,
            "message": self.text,
        }


def log_files(logs: Path) -> list[Path]:
    """The present logs of a stack; not their predecessors."""
    return sorted(
        file for file in logs.glob("*.log") if file.name not in LEFT_OUT and not re.search(r"\.\d+\.log$", file.name)
    )


def merged(files: Iterable[Path]) -> list[LogLine]:
    """All lines of ``files`` in the order of their times."""
    lines = [line for file in files for line in read_lines(file)]
    return sorted(lines, key=lambda line: line.time)


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
        time = datetime.strptime(match["time"], "%Y-%m-%dT%H:%M:%S,%f").astimezone()
        return LogLine(time, last.source, match["level"], match["origin"], match["text"])
    record = _json(line)
    if record is not None:
        exception = str(record.get("exception", "")).strip()
        extra = {key: value for key, value in record.items() if key not in _KNOWN}
        fields = " ".join(f"{key}={value}" for key, value in extra.items())
        text = "\n".join(part for part in (f"{record['message']} {fields}".strip(), exception) if part)
        time = datetime.fromisoformat(record["time"])
        return LogLine(time, last.source, str(record["level"]), str(record.get("logger", "")), text)
    return replace(last, text=line)


_KNOWN = ("time", "level", "logger", "message", "exception")


def _json(line: str) -> dict[str, str] | None:
    if not line.startswith("{"):
        return None
    try:
        record = json.loads(line)
        datetime.fromisoformat(record["time"])
    except (ValueError, KeyError, TypeError):
        return None
    return record if {"level", "message"} <= record.keys() else None
