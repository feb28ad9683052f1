"""What the machine, or the container that this runs in, has left."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from marserve.handler.resnet18 import cpu
from marserve.handler.resnet18.cpu import cgroups, usable_cores

#: Share of the memory that is never given to workers, and the least of it in bytes.
RESERVED_SHARE = 0.1
LEAST_RESERVE_BYTES = 500_000_000
#: The variable that chooses among GPUs, for CUDA by their numbers or UUIDs; empty, it hides all.
VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"
#: Seconds for nvidia-smi: a driver that nobody uses is loaded first.
NVIDIA_SMI_S = 30.0


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


def visible_gpus(environ: Mapping[str, str] = os.environ) -> int:
    """How many NVIDIA GPUs a process with ``environ`` may use; 0 where nvidia-smi is missing or finds none."""
    try:
        # Where PATH has it, as TorchServe looks for it.
        done = subprocess.run(
            ["nvidia-smi", "-L"],  # noqa: S607
            env=dict(environ), capture_output=True, text=True, check=False, timeout=NVIDIA_SMI_S,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return 0
    there = len(re.findall(r"^GPU \d+:", done.stdout, re.MULTILINE)) if done.returncode == 0 else 0
    chosen = environ.get(VISIBLE_GPUS)
    if chosen is None:
        return there
    # CUDA reads up to the first that is none, such as -1.
    named = takewhile(lambda name: re.match(r"\s*\w", name), chosen.split(","))
    return min(there, len(list(named)))


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
