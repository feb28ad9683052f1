"""What the machine, or the container, has left."""

from __future__ import annotations

import contextlib
from pathlib import Path

import psutil

from marserve.autoscale.capacity import Machine
from marserve.handler.resnet18.cpu import usable_cores

#: cgroup v2, where a container's memory limit and use stand.
CGROUP = Path("/sys/fs/cgroup")
#: Share of the memory that is never given to workers, and the least of it in bytes.
RESERVED_SHARE = 0.1
LEAST_RESERVE_BYTES = 500_000_000


def read_machine(cgroup: Path = CGROUP) -> Machine:
    """Cores and memory as they are now; where a container has a limit, what is left below it."""
    memory = psutil.virtual_memory()
    total, available = memory.total, memory.available
    limit = _container_limit(cgroup)
    if limit is not None and limit[0] < total:
        total, available = limit[0], min(available, limit[1])
    return Machine(usable_cores(), available, max(LEAST_RESERVE_BYTES, int(total * RESERVED_SHARE)))


def worker_bytes(pids: list[int]) -> int:
    """Memory of the largest of the processes ``pids``; 0 where none is there."""
    largest = 0
    for pid in pids:
        with contextlib.suppress(psutil.Error):  # it has ended meanwhile
            largest = max(largest, psutil.Process(pid).memory_info().rss)
    return largest


def _container_limit(cgroup: Path) -> tuple[int, int] | None:
    """The limit in bytes, and what is left below it; pages of files that can be given up count as left."""
    try:
        limit = int((cgroup / "memory.max").read_text(encoding="ascii"))
        used = int((cgroup / "memory.current").read_text(encoding="ascii"))
        stat = dict(line.split() for line in (cgroup / "memory.stat").read_text(encoding="ascii").splitlines())
        return limit, max(0, limit - used + int(stat.get("inactive_file", "0")))
    except (OSError, ValueError):  # no cgroup v2 here, or "max": no limit
        return None
