"""What TorchServe and its workers say from now on about one version: whether a worker cannot start, and why."""

from __future__ import annotations

import re
import time
from pathlib import Path

from marserve.manage.following import Follower
from marserve.system.waiting import wait_until
from marserve.torchserve.log_lines import LogLine
from marserve.torchserve.models import ModelVersion

#: Seconds for a worker's last words: TorchServe may lose them, and then has those of its next attempt, 1 s later.
PATIENCE_S = 6.0
POLL_S = 0.25
TRACEBACK = "Traceback (most recent call last):"
#: How TorchServe says that a worker has ended, in the worker's thread.
_FAILED = re.compile(r"^(Load model failed: |Retry worker: )")
#: Lines of a reason.
LINES = 6
NO_REASON = "  The logs hold no reason; TorchServe only said that it failed."


class LogWatch:
    """The logs of a stack from the moment of its making."""

    def __init__(self, logs: Path) -> None:
        self._follower = Follower(logs)
        self._lines: list[LogLine] = []

    def failed_workers(self, version: ModelVersion) -> set[str]:
        """The ids of workers of ``version`` that have ended since."""
        ending = f"-{version.model}_{version.version}"
        return {
            line.origin.removeprefix("W-").removesuffix(ending)
            for line in self._read()
            if line.origin.startswith("W-") and line.origin.endswith(ending) and _FAILED.match(line.text)
        }

    def reason(self, version: ModelVersion, patience_s: float = PATIENCE_S) -> str:
        """Why workers of ``version`` have ended since: indented lines."""
        wait_until(lambda: _exception(self._lines_about(version)), patience_s, poll_s=POLL_S)
        time.sleep(POLL_S)  # for the rest of the message to be written
        lines = self._lines_about(version)
        found = _exception(lines) or [line.text for line in lines if line.is_error and line.text.strip()][-LINES:]
        return "\n".join(f"  {text}" for text in found) or NO_REASON

    def _lines_about(self, version: ModelVersion) -> list[LogLine]:
        endings = tuple(f"-{version.model}_{version.version}{stream}" for stream in ("", "-stdout", "-stderr"))
        return [line for line in self._read() if line.origin.endswith(endings)]

    def _read(self) -> list[LogLine]:
        self._lines += self._follower.new_lines()
        return self._lines


def _exception(lines: list[LogLine]) -> list[str]:
    """The message of the last traceback: what stands after its frames, which are indented."""
    starts = [i for i, line in enumerate(lines) if line.text == TRACEBACK]
    if not starts:
        return []
    start = lines[starts[-1]]
    after = [line.text for line in lines[starts[-1] + 1 :] if line.origin == start.origin]
    unindented = [text for text in after if text and not text[0].isspace()]
    return unindented[:LINES]
