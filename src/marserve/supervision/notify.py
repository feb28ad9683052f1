"""Whoever started the supervisor learns how it is: systemd by its notify protocol, ``serve --detach`` by a pipe.

https://www.freedesktop.org/software/systemd/man/sd_notify.html
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, MutableMapping
from pathlib import Path

from marserve.errors import StopRequestedError
from marserve.probe import BEAT_S, beat
from marserve.system.files import locked
from marserve.system.processes import STOP_SIGNALS, how_it_ended
from marserve.terminal import complain

READY = b"READY=1"
#: Seconds to wait for the supervisor before this one: a container may be started while the last of it is ending.
LOCK_S = 10.0


class Notifier:
    """Sends states to whoever listens; nobody need do so."""

    def __init__(self, environ: MutableMapping[str, str] = os.environ) -> None:
        """Takes systemd's variables out of ``environ``: they are for this process alone."""
        self._address = environ.pop("NOTIFY_SOCKET", "")
        watchdog_us = environ.pop("WATCHDOG_USEC", "")
        is_meant = environ.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        #: Seconds between two signs of life: half of what systemd waits for one.
        self.every_s = int(watchdog_us) / 2e6 if is_meant and watchdog_us.isdigit() else 0.0
        self._last_s = float("-inf")
        self._status = ""
        #: Called once when the stack is ready.
        self.on_ready: Callable[[], None] = lambda: None

    def ready(self) -> None:
        self.send(READY)
        self.on_ready()
        self.on_ready = lambda: None

    def status(self, text: str) -> None:
        """One line for ``systemctl status``."""
        if text != self._status:
            self._status = text
            self.send(b"STATUS=" + text.replace("\n", " ").encode())

    def alive(self, *, works: bool = True) -> None:  # noqa: ARG002 - systemd asks for the supervisor's own life
        """A sign of life for systemd's watchdog; call it often, and only while all is well here.

        ``works``: whether all services do.
        """
        now = time.monotonic()
        if self.every_s and now - self._last_s >= self.every_s:
            self._last_s = now
            self.send(b"WATCHDOG=1")

    def stopping(self) -> None:
        self.send(b"STOPPING=1")

    def send(self, state: bytes) -> None:
        if not self._address:
            return
        # A name that begins with @ is one outside the file system.
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.connect(address)
            client.sendall(state)


class Heartbeat(Notifier):
    """For a container, whose orchestrator asks ``marserve.probe``."""

    def __init__(self, file: Path) -> None:
        """Raises MarserveError where another supervisor is at work on the same directory."""
        super().__init__()
        self.every_s = BEAT_S
        self._held = contextlib.ExitStack()
        self._held.enter_context(locked(file, timeout_s=LOCK_S))
        self._number = os.open(file, os.O_WRONLY | os.O_TRUNC)  # what one before it wrote says nothing now
        self._has_worked = False

    def close(self) -> None:
        """Let another supervisor begin; the end of this process does so, too."""
        os.close(self._number)
        self._held.close()

    def alive(self, *, works: bool = True) -> None:
        now = time.monotonic()
        if now - self._last_s >= self.every_s:
            self._last_s = now
            self._has_worked = self._has_worked or works
            beat(self._number, has_worked=self._has_worked, works=works)


def detached(run: Callable[[Notifier], int], log: Callable[[], Path]) -> int:
    """Call ``run`` in a process in a session of its own, and return when it is ready; answers the exit status.

    Until then what it says goes where this process's output goes, and a signal that ends this process ends it; later,
    what it says goes to ``log``.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    reading, writing = os.pipe()
    # What comes in the very moment of the fork is taken by each process when it can act on it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        os.setsid()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return _run_apart(run, log, writing)
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            if pipe.read() == READY:
                return 0
    except StopRequestedError as exc:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, exc.signal_number)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status < 0:
        complain(f"The process that was to stay with the stack has not come that far: {how_it_ended(status)}.")
    return status if status >= 0 else 128 - status


def _run_apart(run: Callable[[Notifier], int], log: Callable[[], Path], waiting: int) -> int:
    """Tell who waits at the file ``waiting`` when it is ready."""
    notifier = Notifier()

    def leave() -> None:
        _write_to(log())
        with contextlib.suppress(OSError):  # whoever waited has gone
            os.write(waiting, READY)
        os.close(waiting)

    notifier.on_ready = leave
    return run(notifier)


def _write_to(log: Path) -> None:
    """Have nothing to do any more with the terminal, or whatever it is that standard input and output belong to."""
    with contextlib.suppress(OSError):  # whoever read it may have gone
        sys.stdout.flush()
        sys.stderr.flush()
    nothing = os.open(os.devnull, os.O_RDONLY)
    try:
        output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    except OSError:  # a full disk, say; the terminal is left all the same
        output = os.open(os.devnull, os.O_WRONLY)
    for number, target in ((0, nothing), (1, output), (2, output)):
        os.dup2(target, number)
    os.close(nothing)
    os.close(output)
