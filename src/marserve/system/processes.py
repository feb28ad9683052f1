"""Processes: started out of a terminal's reach, recognised for certain, and ended by one policy.

Ctrl-C, SIGTERM and a closed terminal all ask this one for the same: stop what was started, then end.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, TYPE_CHECKING

from marserve.errors import StopRequestedError
from marserve.system.waiting import wait_until

if TYPE_CHECKING:
    import psutil

#: Seconds that a process has to clean up after SIGTERM, before it is killed.
GRACE_S = 15.0
#: Seconds for a killed process to be gone.
KILLED_S = 5.0
#: Seconds that two readings of one process's creation may differ: the kernel tells when it was started by the second.
CLOCK_TOLERANCE_S = 2.0
#: Names the time since the machine was started (Linux).
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_PROC = Path("/proc")
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class ProcessRecord:
    """One process. A process id is used again after a while, so the time of creation belongs to its identity."""

    name: str
    pid: int
    #: Seconds since the machine was started, where ``boot`` names that start; else since the epoch.
    created: float
    #: The clock may be set while the process runs, and all that is told since the epoch changes with it. It names the
    #: container as well: another one, and the same one when it was started again, has the same ids for others.
    boot: str = ""


def record(name: str, pid: int) -> ProcessRecord:
    """The identity of a process that is running now."""
    import psutil

    boot = _current_boot()
    return ProcessRecord(name, pid, _created(psutil.Process(pid), boot), boot)


def running(process: ProcessRecord) -> psutil.Process | None:
    """The process that was recorded; None if it has ended, whoever has its id by now."""
    import psutil

    try:
        found = psutil.Process(process.pid)
        same = abs(_created(found, process.boot) - process.created) <= CLOCK_TOLERANCE_S
        return found if same and has_id_here(process) and is_alive(found) else None
    except psutil.NoSuchProcess:
        return None


def has_id_here(process: ProcessRecord) -> bool:
    """Whether its id is one of this container and of this start of the machine, so that it shows whether it runs."""
    return process.boot in ("", boot := _current_boot(), boot.partition(" ")[0])


def _current_boot() -> str:
    """The machine's start and the process id namespace, which is known by the time of its first process.

    The kernel gives the number of a namespace to the next one when it has ended. Earlier versions wrote the first part
    alone.
    """
    try:
        boot = _BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return ""
    try:
        namespace = (_PROC / "self/ns/pid").readlink().name
        begun = (_PROC / "1/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except OSError:  # /proc shows nothing of others
        return boot
    return f"{boot} {namespace} {begun}"


def _created(process: psutil.Process, boot: str) -> float:
    import psutil

    return process.create_time() - (psutil.boot_time() if boot else 0.0)


def is_alive(process: psutil.Process) -> bool:
    """Unlike for psutil, a process that its parent has yet to take note of has ended."""
    import psutil

    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def is_stopped(process: psutil.Process) -> bool:
    """Whether a signal (SIGSTOP) has stopped it; a debugger's stop is another state."""
    import psutil

    try:
        return bool(process.status() == psutil.STATUS_STOPPED)
    except psutil.Error:  # it has ended
        return False


def end(send: Callable[[signal.Signals], object], is_gone: Callable[[], bool], grace_s: float = GRACE_S) -> None:
    """The policy for everything that is ended: SIGTERM, ``grace_s`` seconds to end by itself, then SIGKILL.

    ``send`` delivers a signal to whatever there is of it at that moment: more of it may start meanwhile.
    """
    send(signal.SIGTERM)

    def is_killed() -> bool:
        send(signal.SIGKILL)
        return is_gone()

    if not wait_until(is_gone, grace_s):
        wait_until(is_killed, grace_s)


def end_processes(processes: Iterable[psutil.Process], grace_s: float = GRACE_S) -> None:
    """End ``processes``; those that have ended, or will by themselves in time, may be among them."""
    import psutil

    ending = list(processes)

    def send(number: signal.Signals) -> None:
        for process in ending:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)
                process.send_signal(signal.SIGCONT)  # one that is stopped does nothing before

    end(send, lambda: not any(map(is_alive, ending)), grace_s)


def kill_processes(processes: Iterable[psutil.Process]) -> None:
    """End ``processes``, which hang or must do nothing more, at once."""
    import psutil

    killed = list(processes)
    for process in killed:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    wait_until(lambda: not any(map(is_alive, killed)), KILLED_S, poll_s=0.02)


def how_it_ended(status: int, *, for_memory: bool = False) -> str:
    """The exit status of a child in words. ``for_memory``: the kernel has just ended a process for want of memory."""
    if status >= 0:
        return f"it ended by itself with exit status {status}"
    name = {number.value: number.name for number in signal.Signals}.get(-status, f"signal {-status}")
    return f"it was ended by {name}" + (", it seems by the kernel for want of memory" if for_memory else "")


def start_service(
    command: Sequence[str], environment: Mapping[str, str], log: Path, cwd: Path
) -> subprocess.Popen[bytes]:
    """Start a process that outlives this one, in a session of its own: no Ctrl-C reaches it. It writes ``log``."""
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def started_in(cwd: Path, command: Sequence[str]) -> list[psutil.Process]:
    """Processes that work in ``cwd`` and whose command line begins with ``command``, as by ``start_service``."""
    import psutil

    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):  # ended meanwhile, or another user's
            if process.cmdline()[: len(command)] == list(command) and cwd.samefile(process.cwd()):
                found.append(process)
    return found


@contextlib.contextmanager
def child(
    command: Sequence[str | Path],
    *,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdout: int | IO[str] | None = None,
    stderr: int | IO[str] | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """Run ``command``; leaving the block waits for its end, an exception in the block ends it and its children.

    It gets a session of its own, so that Ctrl-C reaches it through its parent, once, and its children with it.
    """
    with contextlib.ExitStack() as starting:
        starting.enter_context(stop_signals_deferred())
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            env=environment,
            cwd=cwd,
            text=True,
            errors="replace",
            start_new_session=True,
        )

        def send(number: signal.Signals) -> None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)

        try:
            starting.close()
            yield process
            process.wait()
        except BaseException:
            end(send, lambda: process.poll() is not None)
            send(signal.SIGKILL)  # the group lives as long as any member: children may have outlived the process itself
            raise
        finally:
            if process.stdout is not None:
                process.stdout.close()


def raise_on_stop_signals() -> None:
    """From now on the first stop signal raises StopRequestedError in the main thread, and further ones do nothing."""
    for number in STOP_SIGNALS:
        signal.signal(number, _raise)


def ignore_stop_signals() -> None:
    """For the time of stopping, which is bounded: a second Ctrl-C must not leave half of the processes behind."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def stop_signals_set() -> threading.Event:
    """From now on a stop signal sets this event, and interrupts nothing."""
    stopping = threading.Event()
    for number in STOP_SIGNALS:
        signal.signal(number, lambda *_: stopping.set())
    return stopping


@contextlib.contextmanager
def stop_signals_ignored() -> Iterator[None]:
    """For work that is bounded and must come to its end. Threads need nothing of it: signals go to the main one."""
    with _stop_signals_handled(signal.SIG_IGN):
        yield


@contextlib.contextmanager
def stop_signals_deferred() -> Iterator[None]:
    """The first that comes meanwhile takes effect in the end: what is being started is known by then, and ended."""
    came: list[int] = []
    try:
        with _stop_signals_handled(lambda number, _: came.append(number)):
            yield
    finally:
        if came:
            signal.raise_signal(came[0])


@contextlib.contextmanager
def _stop_signals_handled(handler: signal.Handlers | Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """As ``handler`` does, where this is the main thread; then as before."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, one in before.items():
            signal.signal(number, one)


def _raise(number: int, _frame: FrameType | None) -> None:
    ignore_stop_signals()
    raise StopRequestedError(number)
