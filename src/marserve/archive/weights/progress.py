"""How far a download is: a bar on a terminal, else a plain line every few seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from tqdm import tqdm

_MEGABYTE = 1e6


class Progress:
    """Shows the progress of one file; a context manager, so that the bar is always cleared away."""

    def __init__(self, name: str, report: Callable[[str], None], line_interval_s: float) -> None:
        self._name = name
        self._report = report
        self._line_interval_s = line_interval_s
        self._last_line = time.monotonic()
        self._bar: tqdm[NoReturn] | None = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(desc=name, unit="B", unit_scale=True, leave=False)

    def show(self, received: int, total: int | None) -> None:
        """``received`` bytes of ``total`` (None: not known) are here; it may go back when a download starts over."""
        if self._bar is not None:
            self._bar.total = total
            self._bar.update(received - self._bar.n)
        elif time.monotonic() - self._last_line >= self._line_interval_s:
            self._last_line = time.monotonic()
            whole = "" if total is None else f" of {total / _MEGABYTE:.1f}"
            self._report(f"{self._name}: {received / _MEGABYTE:.1f}{whole} MB")

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
