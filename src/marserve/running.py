"""What the entry points have in common: a failure is a message and a status, never a traceback."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
from collections.abc import Callable

from marserve.errors import MarserveError, StopRequestedError
from marserve.system.files import failure_of
from marserve.system.processes import raise_on_stop_signals
from marserve.terminal import complain


def run_command(command: Callable[[], int]) -> int:
    """The exit status of ``command``: its own, that of a MarserveError, 128 and the signal where one cut it short.

    What the system refuses, such as a write to a full disk, is 1 and a sentence as well.
    """
    open_standard_streams()
    raise_on_stop_signals()
    try:
        try:
            return command()
        finally:
            sys.stdout.flush()  # here, where a failure is seen
    except MarserveError as exc:
        complain(str(exc))
        return exc.exit_status
    except BrokenPipeError:  # what reads it, such as head, has had enough
        _give_up_output()
        return 1
    except OSError as exc:
        _give_up_output()
        complain(failure_of(exc))
        return 1
    except StopRequestedError as exc:
        complain("Stopped before it was done.")
        return 128 + exc.signal_number


def open_standard_streams() -> None:
    """Open those that the caller closed to nothing: the next file opened would take their place, and their output."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            # A shell that reads its script from such a number leaves it open, for reading.
            usable = fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE != (os.O_RDONLY if number else os.O_WRONLY)
        except OSError:
            usable = False
        if not usable:
            nothing = os.open(os.devnull, os.O_RDWR)
            os.dup2(nothing, number)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115


def _give_up_output() -> None:
    """Have nothing fail again as Python ends and writes what is left."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        return
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
