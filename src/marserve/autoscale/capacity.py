"""How many workers of one model the machine bears."""

from __future__ import annotations

from dataclasses import dataclass

from marserve.system.machine import Machine


@dataclass(frozen=True)
class Capacity:
    """The most workers of a model, and what it is that sets the limit."""

    workers: int
    limit: str


def capacity(
    machine: Machine, *, workers: int, threads: int, claimed_by_others: int, bytes_per_worker: int
) -> Capacity:
    """The most workers that a model with ``workers`` of ``threads`` each may have.

    ``claimed_by_others`` are workers of other models that are at work. ``bytes_per_worker`` is what the largest worker
    takes; pages that workers share count as if each had its own, which errs on the safe side.
    """
    by_cores = max(1, machine.cores // threads - claimed_by_others)
    by_memory = workers + machine.spare_bytes // max(1, bytes_per_worker)
    if by_memory < by_cores:
        return Capacity(
            by_memory,
            f"{machine.available_bytes / 1e9:.1f} GB of memory are left, of which {machine.reserve_bytes / 1e9:.1f} GB "
            f"stay free, and a worker takes {bytes_per_worker / 1e9:.2f} GB",
        )
    others = f", {claimed_by_others} of them taken by other models" if claimed_by_others else ""
    return Capacity(by_cores, f"{machine.cores} cores{others}")
