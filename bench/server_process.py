"""Starting a server so that all of its processes, wherever they went, can be found, measured and ended.

Each inherits an environment variable that names the server. A program that changes its title may overwrite that, as
Ray's do, so the descendants of those that are known count too.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.errors import CandidateError
from marserve.system import processes
from marserve.system.processes import GRACE_S

#: The variable; its value is unique for each start.
MARK = "BENCH_SERVER"


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


@contextmanager
def marked(name: str) -> Iterator[str]:
    """A new mark; whatever carries it is ended when the block is left."""
    mark = f"{name.replace('/', '-').replace(' ', '_')}-{uuid.uuid4().hex[:8]}"
    try:
        yield mark
    finally:
        end(mark)
        if left := members(mark):
            raise CandidateError(f"Processes {left} of {name} cannot be ended.")


@contextmanager
def started_process(
    command: Sequence[str], mark: str, environment: Mapping[str, str], cwd: Path, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """``command`` in a session of its own, its output in ``log``; the process itself is reaped in the end."""
    log.parent.mkdir(parents=True, exist_ok=True)
    started = processes.start_service(command, {**os.environ, **environment, MARK: mark}, log, cwd)
    _roots[mark] = started.pid
    try:
        yield started
    finally:
        end(mark)
        try:
            started.wait(GRACE_S)
        except subprocess.TimeoutExpired:  # a program that changes its title can overwrite its environment and the mark
            os.killpg(started.pid, signal.SIGKILL)
            started.wait()


@contextmanager
def network_namespace(name: str) -> Iterator[str]:
    """Make the namespace ``name`` and remove it in the end. Raises CandidateError where that is not allowed."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        raise CandidateError(
            "It listens on all interfaces whatever its settings say: it is only run in a network namespace of its own, "
            "which takes root and the program ip (Debian: apt-get install iproute2)."
        )
    subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)  # noqa: S607 - wherever it is
    for command in (["ip", "netns", "add", name], ["ip", "-n", name, "link", "set", "lo", "up"]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CandidateError(f"No network namespace can be made here: {done.stderr.strip()}")
    try:
        yield name
    finally:
        subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)  # noqa: S607


def members(mark: str) -> list[int]:
    """Ids of the processes that carry ``mark``, and of their descendants; no zombies."""
    return sorted(process.pid for process in _processes(mark))


def memory(mark: str) -> Memory:
    """PSS of each process with ``mark``."""
    sizes = []
    for process in _processes(mark):
        with contextlib.suppress(psutil.Error, OSError):
            sizes.append((_name(process), process.memory_full_info().pss / 1e6))
    return Memory(tuple(sizes))


def cpu_seconds(mark: str) -> dict[str, float]:
    """Processor time that the processes with ``mark`` have used so far, by their names."""
    used: dict[str, float] = {}
    for process in _processes(mark):
        with contextlib.suppress(psutil.Error, OSError):
            times, name = process.cpu_times(), _name(process)
            used[name] = used.get(name, 0.0) + times.user + times.system
    return used


def end(mark: str, grace_s: float = GRACE_S) -> list[int]:
    """End every process with ``mark``, those that start meanwhile too; answers those that had to be killed."""
    killed: set[int] = set()

    def send(number: signal.Signals) -> None:
        for pid in members(mark):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            if number == signal.SIGKILL:
                killed.add(pid)

    processes.end(send, lambda: not members(mark), grace_s)
    return sorted(killed)


def _processes(mark: str) -> list[psutil.Process]:
    found: set[psutil.Process] = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):  # ended meanwhile, or another user's
            if process.pid == _roots.get(mark) or (process.pid != os.getpid() and process.environ().get(MARK) == mark):
                found |= {process, *process.children(recursive=True)}
    return [process for process in found if processes.is_alive(process)]


def _name(process: psutil.Process) -> str:
    """``java``, ``python model_service_worker.py``: enough for a person to know it."""
    parts = process.cmdline()
    if "-c" in parts[1:]:
        return f"{Path(parts[0]).name} -c"
    names = [Path(part).name for part in parts if part and not part.startswith("-")]
    return " ".join(names[:2]) if names and names[0].startswith("python") else (names or ["?"])[0]
