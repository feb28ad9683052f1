"""How many processor cores this process may really use, how many of them a worker takes, and work on several."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import TypeVar, cast

Item = TypeVar("Item")
Result = TypeVar("Result")

#: What Linux says of this process.
PROC = Path("/proc/self")

#: The variable in which ``marserve serve``, which shares the cores out, sends each worker its number of threads.
THREADS_VARIABLE = "MARSERVE_THREADS"


def usable_cores(proc: Path = PROC) -> int:
    """Cores this process may run on: its CPU affinity, capped by the quotas of its container; at least 1."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS has no affinity
        cores = os.cpu_count() or 1
    quotas = [quota for cgroup in cgroups("cpu", proc) if (quota := _quota(cgroup)) is not None]
    return max(1, min([cores, *quotas]))


def cgroups(controller: str, proc: Path = PROC) -> Iterator[Path]:
    """The directories of the cgroups, of version 1 and 2, that may limit this process's ``cpu`` or ``memory``.

    Its own and those around it, as far as they can be seen: the strictest of their limits holds. None without cgroups.
    """
    try:
        memberships = [line.split(":", 2) for line in (proc / "cgroup").read_text().splitlines()]
        mounts = [line.split(" - ") for line in (proc / "mountinfo").read_text().splitlines()]
    except OSError:  # no Linux
        return
    for mount, system in mounts:
        root, mount_point = mount.split()[3:5]
        kind, _, options = system.split(" ", 2)
        # Version 2 has one hierarchy, listed without controllers; of version 1 each controller may have one.
        wanted = {"cgroup": controller, "cgroup2": ""}.get(kind)
        if wanted is None or (wanted and wanted not in options.split(",")):
            continue
        for _, controllers, path in memberships:
            if wanted in controllers.split(","):
                # Where a container sees only its own part of the hierarchy, its path may not lie below what is mounted.
                visible = Path(path).relative_to(root) if Path(path).is_relative_to(root) else ""
                own = Path(mount_point, visible)
                yield from (own, *(parent for parent in own.parents if parent.is_relative_to(mount_point)))


def _quota(cgroup: Path) -> int | None:
    """The whole cores of a quota for ``cgroup``; None where there is none."""
    try:
        if (limit := cgroup / "cpu.max").exists():  # version 2: "quota period" in microseconds, or "max period"
            quota, period = limit.read_text().split()
        else:  # version 1: -1 for no quota
            quota = (cgroup / "cpu.cfs_quota_us").read_text()
            period = (cgroup / "cpu.cfs_period_us").read_text()
        return int(quota) // int(period) if int(quota) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None


def threads_of_worker(configured_workers: int | None, cores: int | None = None) -> int:
    """Inference threads for one worker: as many as ``THREADS_VARIABLE`` says.

    Where TorchServe was started by someone else, the cores are shared between ``minWorkers`` of model-config.yaml, else
    between one worker per core, which is TorchServe's own default.
    """
    sent = os.environ.get(THREADS_VARIABLE, "")
    if sent.isdecimal() and int(sent) > 0:
        return int(sent)
    cores = cores or usable_cores()
    return max(1, cores // (configured_workers or cores))


def map_in_threads(
    function: Callable[[Item], Result], items: Sequence[Item], threads: int, pool: Executor
) -> list[Result]:
    """``function`` of each of ``items``, in their order, on ``threads`` threads: this one, and those of ``pool``.

    Each takes the next item when it is done with one; one alone is not handed over. Raises what ``function`` does.
    """
    results: list[Result | None] = [None] * len(items)
    waiting = enumerate(items)  # shared: taking the next is one step of the interpreter

    def work() -> None:
        for index, item in waiting:
            results[index] = function(item)

    others = [pool.submit(work) for _ in range(min(threads, len(items)) - 1)]
    work()
    for other in others:
        other.result()
    return cast("list[Result]", results)
