"""Recognising the processes of a stack for certain, and ending them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable

import psutil

from marserve.stack.state import ProcessRecord, State

#: Seconds that two readings of one process's creation may differ, since the system's clock is adjusted now and then.
CLOCK_TOLERANCE_S = 2.0
#: Seconds between asking a process to end and ending it.
GRACE_S = 15.0


def record(name: str, pid: int) -> ProcessRecord:
    """The identity of a process that is running now."""
    return ProcessRecord(name, pid, psutil.Process(pid).create_time())


def running(process: ProcessRecord) -> psutil.Process | None:
    """The process that was recorded; None if it has ended, whoever has its id by now."""
    try:
        found = psutil.Process(process.pid)
        same = abs(found.create_time() - process.created) <= CLOCK_TOLERANCE_S
        return found if same and found.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None


def using_temp(temp: str) -> list[psutil.Process]:
    """Processes started with the private directory ``temp``: TorchServe, and workers even after it is gone."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # ended meanwhile, or another user's
            arguments = process.cmdline()
            if any(part == f"-Djava.io.tmpdir={temp}" or part.startswith(f"{temp}/") for part in arguments):
                found.append(process)
    return found


def end(state: State) -> list[str]:
    """End what is left of a stack, last started first, and say what was ended: ``TorchServe (pid 4242)``, ..."""
    ended = []
    for process in reversed(state.processes):
        found = running(process)
        if found is not None:
            children = _descendants(found)
            end_processes([found], GRACE_S)
            # TorchServe's workers end by themselves when it is gone.
            end_processes(_wait(children, GRACE_S), GRACE_S)
            ended.append(_name(process.name, found.pid, len(children)))
    orphans = using_temp(state.temp)
    end_processes(orphans, GRACE_S)
    if orphans:
        ended.append(f"what was left of it (pid {', '.join(str(orphan.pid) for orphan in orphans)})")
    return ended


def end_processes(processes: Iterable[psutil.Process], grace_s: float) -> None:
    """Ask the processes to end, wait, and end those that did not."""
    asked = list(processes)
    for process in asked:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    left = _wait(asked, grace_s)
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    _wait(left, grace_s)


def _wait(processes: Iterable[psutil.Process], timeout_s: float) -> list[psutil.Process]:
    """Those that have not ended in time. Unlike for psutil, one that its parent has yet to take note of has ended."""
    give_up = time.monotonic() + timeout_s
    while (left := [process for process in processes if _works(process)]) and time.monotonic() < give_up:
        time.sleep(0.05)
    return left


def _works(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _name(name: str, pid: int, children: int) -> str:
    workers = f" and {children} worker{'s' if children > 1 else ''}" if children else ""
    return f"{name} (pid {pid}){workers}"
