"""Why TorchServe or a worker failed, in its own words, out of its logs."""

from __future__ import annotations

import re
import textwrap
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from marserve.system.waiting import wait_until
from marserve.torchserve.log_lines import TRACEBACK, Follower, LogLine, read_lines
from marserve.torchserve.models import ModelVersion

#: What Java prints by itself, before TorchServe's own logs begin.
CONSOLE_LOG = "console.log"
#: What a worker's first line begins with.
_WORKER_BEGINS = "s_name_part0="
#: How TorchServe, or the worker itself, says that a worker has ended.
_WORKER_ENDED = re.compile(r"^(Load model failed: |Retry worker: |Backend worker process died)")
_ARCHIVE_REFUSED = "Failed to load model: "
#: Lines that are no reason: Java's stack frames, its own warnings, and what TorchServe prints at every start (it finds
#: fault with a model-config.yaml that leaves the worker count to default_workers_per_model).
_NOISE = re.compile(
    r"\s+at |\s*\.\.\. \d+ more|WARNING: |(nvidia|xpu)-smi not available|Model server started\.|"
    r"Invalid model config in mar, "
)
_NO_REASON = "The logs hold no reason."
#: Lines of an exception's message, and of a failure without an exception, at most.
MESSAGE_LINES = 20
ERROR_LINES = 6
#: Seconds for a worker's last words: TorchServe may lose them, and then has those of its next attempt, 1 s later.
PATIENCE_S = 6.0
POLL_S = 0.25


def start_has_failed(logs: Path, since: Follower | None = None, *, beside: Iterable[ModelVersion] = ()) -> bool:
    """Whether a worker has ended by itself, or TorchServe could not even unpack one of the archives.

    Versions ``beside`` those that are to answer may fail. Here and below, ``since`` leaves out what was in the logs at
    its making: what an earlier start of TorchServe wrote.
    """
    workers = tuple(ending for version in beside for ending in _endings(version))
    archives = tuple(f"{_ARCHIVE_REFUSED}{version.archive}" for version in beside)
    return any(
        (_WORKER_ENDED.match(line.text) and not line.origin.endswith(workers))
        or (line.text.startswith(_ARCHIVE_REFUSED) and not line.text.startswith(archives))
        for line in _lines(logs, since)
    )


def worker_reason(logs: Path, since: Follower | None = None) -> str:
    """Why no worker works: its exception, else its error output, else TorchServe's own errors."""
    return "\n".join(_reason(_lines(logs, since)) or [_NO_REASON])


def server_reason(logs: Path, since: Follower | None = None) -> str:
    """Why the Java process ended: what it printed, else the last errors in its log."""
    printed = [line.text for line in _lines_of(logs / CONSOLE_LOG, since) if _says_something(line)]
    errors = [line.text for line in _lines_of(logs / "ts_log.log", since) if line.is_error and _says_something(line)]
    return "\n".join((printed or errors)[-ERROR_LINES:] or [_NO_REASON])


class LogWatch:
    """The logs of a stack from the moment of its making: which workers of a version fail, and why."""

    def __init__(self, logs: Path) -> None:
        self._follower = Follower(logs)
        self._lines: list[LogLine] = []

    def failed_workers(self, version: ModelVersion) -> set[str]:
        """The ids of workers of ``version`` that have ended since."""
        ending = f"-{version.model}_{version.version}"
        return {
            line.origin.removeprefix("W-").removesuffix(ending)
            for line in self._read()
            if line.origin.startswith("W-") and line.origin.endswith(ending) and _WORKER_ENDED.match(line.text)
        }

    def reason(self, version: ModelVersion, patience_s: float = PATIENCE_S) -> str:
        """Why workers of ``version`` have ended since: indented lines."""
        wait_until(lambda: _exception(self._lines_about(version)), patience_s, poll_s=POLL_S)
        time.sleep(POLL_S)  # for the rest of the message to be written
        return textwrap.indent("\n".join(_reason(self._lines_about(version)) or [_NO_REASON]), "  ")

    def _lines_about(self, version: ModelVersion) -> list[LogLine]:
        return [line for line in self._read() if line.origin.endswith(_endings(version))]

    def _read(self) -> list[LogLine]:
        self._lines += self._follower.new_lines()
        return self._lines


def _endings(version: ModelVersion) -> tuple[str, ...]:
    """What the origin of each line about workers of ``version`` ends with."""
    return tuple(f"-{version.model}_{version.version}{stream}" for stream in ("", "-stdout", "-stderr"))


def _lines(logs: Path, since: Follower | None) -> list[LogLine]:
    return [*_lines_of(logs / "model_log.log", since), *_lines_of(logs / "ts_log.log", since)]


def _lines_of(log: Path, since: Follower | None) -> Iterable[LogLine]:
    return read_lines(log) if since is None else since.lines_of(log)


def _reason(lines: Sequence[LogLine]) -> list[str]:
    """The last exception's message, else a worker's error output, else whatever says that there is a problem."""
    return (
        _exception(lines)
        or _last(line for line in lines if line.origin.endswith("-stderr"))
        or _last(line for line in lines if line.is_error)
    )


def _exception(lines: Sequence[LogLine]) -> list[str]:
    """The message of the last traceback: what stands after its frames, which are indented."""
    start = max((i for i, line in enumerate(lines) if line.text == TRACEBACK), default=None)
    if start is None:
        return []
    message: list[str] = []
    # Workers write at the same time; each has a thread of its own.
    for line in (line for line in lines[start + 1 :] if line.origin == lines[start].origin):
        if line.text.startswith(_WORKER_BEGINS):
            break
        if message or (line.text and not line.text[0].isspace()):
            message.append(line.text)
    return message[:MESSAGE_LINES]


def _last(lines: Iterable[LogLine]) -> list[str]:
    return [line.text for line in lines if _says_something(line)][-ERROR_LINES:]


def _says_something(line: LogLine) -> bool:
    return line.text.strip() != "" and not _NOISE.match(line.text)
