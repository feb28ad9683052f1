"""What a person sees: one line a step, and a sign of life from steps that take long.

``Progress`` works before anything is installed; ``counted`` has rich, for steps whose size is known.
"""

from __future__ import annotations

import json
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Protocol

#: Takes one line for a person.
Report = Callable[[str], None]

#: Seconds between two signs of life where lines cannot be rewritten, such as a CI log.
REPEAT_S = 15.0


#: Set where a person wants to hear of failures alone.
QUIET = threading.Event()
#: Set in a container, whose output is a log: each line is a JSON object then, as of the services' logs.
AS_JSON = threading.Event()


def say(line: str) -> None:
    if not QUIET.is_set():
        print(_as_read(line, "INFO"), flush=True)


def complain(line: str) -> None:
    print(_as_read(line, "WARNING"), file=sys.stderr, flush=True)


def _as_read(line: str, level: str) -> str:
    if not AS_JSON.is_set():
        return line
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    return json.dumps({"time": now, "level": level, "logger": "marserve", "message": line})


class Progress:
    """The state of one long step, on standard error: a line rewritten in place on a terminal, else one now and then."""

    def __init__(self, step: str) -> None:
        self._step = step
        self._rewritable = sys.stderr.isatty() and not QUIET.is_set()
        self._started = self._shown = time.monotonic()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._rewritable:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    def update(self, detail: str = "") -> None:
        """Call often; shows ``detail`` and the seconds since the step began when it is time to."""
        now = time.monotonic()
        line = f"  {self._step} ({now - self._started:.0f} s) {detail}".rstrip()
        if self._rewritable:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r\033[K{line[:width]}", end="", file=sys.stderr, flush=True)
        elif now - self._shown >= REPEAT_S and not QUIET.is_set():
            self._shown = now
            complain(line)


class Show(Protocol):
    """To be called often with how much of a step is done, how much there is (None: not known), and what else to say."""

    def __call__(self, done: float, total: float | None, detail: str = "") -> None: ...


@contextmanager
def counted(
    step: str, unit: str, *, report: Report = complain, interval_s: float = REPEAT_S, estimate: bool = True
) -> Iterator[Show]:
    """Shows a bar on standard error where that is a terminal, else reports a line every ``interval_s`` seconds.

    With ``estimate`` the bar says how long it will take; without, who calls says it as a detail.
    """

    def amount(done: float, total: float | None, detail: str) -> str:
        digits = ".1f" if isinstance(done, float) else ""
        told = f", {detail}" if detail else ""
        return f"{done:,{digits}}{'' if total is None else f' of {total:,{digits}}'} {unit}{told}"

    if sys.stderr.isatty():
        from rich import progress
        from rich.console import Console

        amount_column = progress.TextColumn("{task.fields[amount]}", markup=False)
        left = (progress.TimeRemainingColumn(),) if estimate else ()
        columns = (progress.TextColumn("{task.description}", markup=False), progress.BarColumn(), amount_column, *left)
        # What is printed to standard error meanwhile appears above the bar; standard output may be a file of results.
        with progress.Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as bar:
            task = bar.add_task(step, total=None, amount="")

            def update(done: float, total: float | None, detail: str = "") -> None:
                bar.update(task, completed=done, total=total, amount=amount(done, total, detail))

            yield update
        return
    last = time.monotonic()

    def show(done: float, total: float | None, detail: str = "") -> None:
        nonlocal last
        if time.monotonic() - last >= interval_s:
            last = time.monotonic()
            report(f"{step}: {amount(done, total, detail)}")

    yield show
