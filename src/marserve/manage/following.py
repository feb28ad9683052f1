"""New lines of a stack's logs as they are written, beyond the logs' rotation."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

from marserve.torchserve.log_lines import LogLine, log_files, parse_lines

#: Seconds between two looks.
POLL_S = 0.3


class Follower:
    """The logs in one directory."""

    def __init__(self, logs: Path) -> None:
        """What stands in the logs now is not told again."""
        self._logs = logs
        #: Inode and length of what was read of each file.
        self._read = {file: self._identity(file) for file in log_files(logs)}

    def follow(self) -> Iterator[LogLine]:
        """Lines, for ever."""
        while True:
            yield from self.new_lines()
            time.sleep(POLL_S)

    def new_lines(self) -> list[LogLine]:
        """What was written since the last call, in the order of time."""
        lines = [line for file in log_files(self._logs) for line in self._new_lines_of(file)]
        return sorted(lines, key=lambda line: line.time)

    def _new_lines_of(self, file: Path) -> list[LogLine]:
        inode, done = self._read.get(file, (0, 0))
        now_inode, size = self._identity(file)
        if now_inode != inode or size < done:  # a new file under the old name
            done = 0
        try:
            with file.open("rb") as content:
                content.seek(done)
                text = content.read()
        except OSError:
            return []
        whole = text[: text.rfind(b"\n") + 1]  # the rest of a line follows with the next look
        self._read[file] = (now_inode, done + len(whole))
        return list(parse_lines(whole.decode(errors="replace").splitlines(), file.stem, datetime.now(timezone.utc)))

    @staticmethod
    def _identity(file: Path) -> tuple[int, int]:
        try:
            status = file.stat()
        except OSError:
            return (0, 0)
        return (status.st_ino, status.st_size)
