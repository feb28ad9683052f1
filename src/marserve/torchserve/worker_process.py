"""What each listed worker really is: TorchServe goes on listing workers that it has given up for good.

Where TorchServe runs in another container, its process ids are others' here.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

import psutil

from marserve.torchserve.log_lines import LogLine, read_lines
from marserve.torchserve.models import ListedWorker, ModelVersion

#: ``restarting``: its process has ended, and TorchServe has said when it will try again.
WorkerState = Literal["ready", "starting", "restarting", "dead"]

#: Seconds by which TorchServe may be late with a restart, or a start, before the worker counts as dead.
MARGIN_S = 10.0
_RETRY = re.compile(r"^Retry worker: \d+ in (?P<seconds>\d+) seconds")
_LOG = "ts_log.log"
#: What the command line of a worker holds, and that of another process that got its id does not.
_PROGRAM = "model_service_worker.py"


@dataclass(frozen=True)
class WorkerReport:
    id: str
    pid: int
    state: WorkerState
    #: Bytes: ``rss`` with the pages that it shares with other workers, ``pss`` with its part of them.
    rss: int | None
    pss: int | None
    #: Seconds of processor time so far.
    cpu_s: float | None


def inspect_workers(version: ModelVersion, logs: Path) -> list[WorkerReport]:
    """The workers of ``version`` in TorchServe's order."""
    processes = [(worker, find_worker(worker.pid)) for worker in version.workers]
    needs_log = any(process is None for _, process in processes)
    lines = list(read_lines(logs / _LOG)) if needs_log else []
    return [_report(worker, process, version, lines) for worker, process in processes]


def find_worker(pid: int) -> psutil.Process | None:
    """The process of a worker; None where it has ended, or never was one."""
    try:
        process = psutil.Process(pid)
        is_worker = process.status() != psutil.STATUS_ZOMBIE and any(
            part.endswith(_PROGRAM) for part in process.cmdline()
        )
    except (psutil.Error, ValueError):
        return None
    return process if pid > 0 and is_worker else None


def resident_bytes(pid: int) -> int | None:
    """Memory of a worker, with the pages that it shares with others; None where there is none."""
    process = find_worker(pid)
    try:
        return None if process is None else process.memory_info().rss
    except psutil.Error:  # it has ended meanwhile
        return None


def cpu_seconds(version: ModelVersion) -> float:
    """Processor time of all workers of ``version`` so far."""
    processes = filter(None, (find_worker(worker.pid) for worker in version.workers))
    return sum(_use(process)[2] or 0.0 for process in processes)


def _report(
    worker: ListedWorker, process: psutil.Process | None, version: ModelVersion, lines: Sequence[LogLine]
) -> WorkerReport:
    if process is None:
        retry = _next_retry(f"W-{worker.id}-{version.model}_{version.version}", lines)
        late = retry is None or (datetime.now(timezone.utc) - retry).total_seconds() > MARGIN_S
        return WorkerReport(worker.id, worker.pid, "dead" if late else "restarting", None, None, None)
    state: WorkerState = "ready"
    if not worker.is_ready:
        hangs = age_s(process) > version.startup_timeout_s + MARGIN_S
        state = "dead" if hangs else "starting"
    return WorkerReport(worker.id, worker.pid, state, *_use(process))


def _next_retry(thread: str, lines: Sequence[LogLine]) -> datetime | None:
    """When TorchServe starts the worker again, by the last that it said of it; None where it has given it up."""
    for line in reversed(lines):
        if line.origin == thread:
            match = _RETRY.match(line.text)
            if match is not None:
                return datetime.fromtimestamp(line.time.timestamp() + int(match["seconds"]), timezone.utc)
            # It is being started, or has just failed and the retry is about to be announced.
            is_recent = time.time() - line.time.timestamp() < 1
            return line.time if is_recent or line.text.startswith("Connecting to: ") else None
    return None


def age_s(process: psutil.Process) -> float:
    """Seconds since its start; 0 where it has ended."""
    try:
        return time.time() - process.create_time()
    except psutil.Error:
        return 0.0


def _use(process: psutil.Process) -> tuple[int | None, int | None, float | None]:
    try:
        times = process.cpu_times()
        rss = process.memory_info().rss
        # Only Linux knows it.
        pss = getattr(process.memory_full_info(), "pss", None)
    except psutil.Error:
        return None, None, None
    return rss, pss, times.user + times.system
