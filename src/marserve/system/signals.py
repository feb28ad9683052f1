"""Ctrl-C, SIGTERM and a closed terminal all ask for the same: stop what was started, then end."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from marserve.errors import StopRequestedError

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def raise_on_stop_signals() -> None:
    """From now on the first stop signal raises StopRequestedError in the main thread, and further ones do nothing."""
    for number in _STOP_SIGNALS:
        signal.signal(number, _raise)


def ignore_stop_signals() -> None:
    """For the time of stopping, which is bounded: a second Ctrl-C must not leave half of the processes behind."""
    for number in _STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def stop_signals_ignored() -> Iterator[None]:
    """For work that is bounded and must come to its end."""
    handlers = [(number, signal.getsignal(number)) for number in _STOP_SIGNALS]
    ignore_stop_signals()
    try:
        yield
    finally:
        for number, handler in handlers:
            signal.signal(number, handler)


def _raise(number: int, _frame: FrameType | None) -> None:
    ignore_stop_signals()
    raise StopRequestedError(number)
