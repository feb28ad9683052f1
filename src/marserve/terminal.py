"""What a person sees: one line a step, and a sign of life from steps that take long."""

from __future__ import annotations

import shutil
import sys
import time
from types import TracebackType

#: Seconds between two signs of life where lines cannot be rewritten, such as a CI log.
REPEAT_S = 15.0


def say(line: str) -> None:
    """Print one line for the person who started the command."""
    print(line, flush=True)


def complain(line: str) -> None:
    """Print one line about what went wrong."""
    print(line, file=sys.stderr, flush=True)


class Progress:
    """The state of one long step: a line rewritten in place on a terminal, else a line every ``REPEAT_S`` seconds."""

    def __init__(self, step: str) -> None:
        self._step = step
        self._rewritable = sys.stdout.isatty()
        self._started = self._shown = time.monotonic()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._rewritable:
            print("\r\033[K", end="", flush=True)

    def update(self, detail: str = "") -> None:
        """Call often; shows ``detail`` and the seconds since the step began when it is time to."""
        now = time.monotonic()
        line = f"  {self._step} ({now - self._started:.0f} s) {detail}".rstrip()
        if self._rewritable:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r\033[K{line[:width]}", end="", flush=True)
        elif now - self._shown >= REPEAT_S:
            self._shown = now
            say(line)
