"""All processes of one server, wherever they went: each inherits an environment variable that names the server.

A program that changes its title may overwrite that, as Ray's do, so the descendants of those that are known count too.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

#: The variable; its value is unique for each start.
MARK = "BENCH_SERVER"
#: Seconds between asking processes to end and ending them.
GRACE_S = 15.0

_PROC = Path("/proc")


@dataclass(frozen=True)
class Memory:
    """Proportional set sizes in megabytes (10^6 bytes), by process: what a page costs is shared by those who map it."""

    #: (name of the program, megabytes)
    processes: tuple[tuple[str, float], ...]

    @property
    def total_mb(self) -> float:
        return sum(megabytes for _, megabytes in self.processes)


#: The process that was started with a mark.
_roots: dict[str, int] = {}


def register(mark: str, pid: int) -> None:
    """Count ``pid`` and its descendants to ``mark`` even where its environment is lost."""
    _roots[mark] = pid


def members(mark: str) -> list[int]:
    """Ids of the processes that carry ``mark``, and of their descendants; no zombies."""
    wanted = f"{MARK}={mark}".encode()
    found = {_roots[mark]} if mark in _roots else set()
    for directory in _PROC.iterdir():
        if directory.name.isdigit() and int(directory.name) != os.getpid():
            with contextlib.suppress(OSError):  # ended meanwhile, or another user's
                if wanted in (directory / "environ").read_bytes().split(b"\0"):
                    found.add(int(directory.name))
    living = set()
    for pid in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            living |= {process, *process.children(recursive=True)}
    return sorted(process.pid for process in living if _is_alive(process))


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def memory(mark: str) -> Memory:
    """PSS of each process with ``mark``."""
    sizes = []
    for pid in members(mark):
        with contextlib.suppress(OSError):
            text = (_PROC / str(pid) / "smaps_rollup").read_text(encoding="ascii")
            if match := re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE):
                sizes.append((_name(pid), int(match[1]) * 1024 / 1e6))
    return Memory(tuple(sizes))


def cpu_seconds(mark: str) -> dict[str, float]:
    """Processor time that the processes with ``mark`` have used so far, by their names."""
    used: dict[str, float] = {}
    for pid in members(mark):
        with contextlib.suppress(psutil.NoSuchProcess, OSError):
            times = psutil.Process(pid).cpu_times()
            name = _name(pid)
            used[name] = used.get(name, 0.0) + times.user + times.system
    return used


def end(mark: str, grace_s: float = GRACE_S) -> list[int]:
    """End every process with ``mark``, those that start meanwhile too; answers those that had to be killed."""
    _signal(members(mark), signal.SIGTERM)
    give_up = time.monotonic() + grace_s
    while members(mark) and time.monotonic() < give_up:
        time.sleep(0.1)
    killed = []
    for _ in range(50):
        left = members(mark)
        if not left:
            break
        killed += left
        _signal(left, signal.SIGKILL)
        time.sleep(0.1)
    return sorted(set(killed))


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _name(pid: int) -> str:
    """``java``, ``python model_service_worker.py``: enough for a person to know it."""
    parts = (_PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
    if "-c" in parts[1:]:
        return f"{Path(parts[0]).name} -c"
    names = [Path(part).name for part in parts if part and not part.startswith("-")]
    return " ".join(names[:2]) if names and names[0].startswith("python") else (names or ["?"])[0]
