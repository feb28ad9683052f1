"""What the machine, or the container that this runs in, has left."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from marserve.handler.resnet18 import cpu
from marserve.handler.resnet18.cpu import cgroups, usable_cores

#: Share of the memory that is never given to workers, and the least of it in bytes.
RESERVED_SHARE = 0.1
LEAST_RESERVE_BYTES = 500_000_000


@dataclass(frozen=True)
class Machine:
    cores: int
    #: Bytes of the machine, or of the container's limit where that is less.
    memory_bytes: int
    #: Bytes that can be had without swapping or being ended by the container's limit.
    available_bytes: int

    @property
    def reserve_bytes(self) -> int:
        """Bytes that stay free whatever comes: large pictures, the frontend's heap, the page cache."""
        return max(LEAST_RESERVE_BYTES, int(self.memory_bytes * RESERVED_SHARE))

    @property
    def spare_bytes(self) -> int:
        """Bytes that workers may take."""
        return max(0, self.available_bytes - self.reserve_bytes)


def read_machine(proc: Path | None = None) -> Machine:
    """Cores and memory as they are now; where a container has a limit, what is left below it."""
    import psutil

    proc = proc or cpu.PROC
    memory = psutil.virtual_memory()
    total, available = memory.total, memory.available
    for cgroup in cgroups("memory", proc):
        if (limited := _memory_limit(cgroup)) is not None:
            total, available = min(total, limited[0]), min(available, limited[1])
    return Machine(usable_cores(proc), total, available)


def out_of_memory_kills() -> int:
    """Processes that the kernel has ended so far for want of memory, in containers too; 0 where it does not count."""
    try:
        counters = dict(line.split() for line in (cpu.PROC / "vmstat").read_text(encoding="ascii").splitlines())
        return int(counters.get("oom_kill", "0"))
    except (OSError, ValueError):
        return 0


def _memory_limit(cgroup: Path) -> tuple[int, int] | None:
    """The limit of ``cgroup`` in bytes, and what is left below it; None where it has none.

    Pages of files that can be given up count as left. Where there is no limit, version 2 says "max"; version 1 gives a
    number that no machine has.
    """
    try:
        if (cgroup / "memory.max").exists():
            limit, used = (int((cgroup / f"memory.{name}").read_text()) for name in ("max", "current"))
        else:
            limit, used = (int((cgroup / f"memory.{name}_in_bytes").read_text()) for name in ("limit", "usage"))
        stat = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    # Version 1 counts without the cgroups inside unless it says "total".
    cached = int(stat.get("total_inactive_file", stat.get("inactive_file", "0")))
    return limit, max(0, limit - used + cached)
