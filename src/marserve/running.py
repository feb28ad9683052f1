"""What the entry points have in common: a failure is a message and a status, never a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from marserve.errors import MarserveError, StopRequestedError
from marserve.system.processes import raise_on_stop_signals
from marserve.terminal import complain


def run_command(command: Callable[[], int]) -> int:
    """The exit status of ``command``: its own, that of a MarserveError, 128 and the signal where one cut it short."""
    raise_on_stop_signals()
    try:
        return command()
    except MarserveError as exc:
        complain(str(exc))
        return exc.exit_status
    except BrokenPipeError:  # what reads it, such as head, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python still wants to write
        return 1
    except StopRequestedError as exc:
        complain("Stopped before it was done.")
        return 128 + exc.signal_number
