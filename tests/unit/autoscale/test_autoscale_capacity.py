"""Cores and memory set the limit."""

from __future__ import annotations

import pytest

from marserve.autoscale.policy import capacity
from marserve.system.machine import Machine

GB = 1_000_000_000


@pytest.mark.parametrize(
    ("cores", "threads", "others", "available_gb", "most", "limit"),
    [
        (8, 1, 0, 100, 8, "8 cores"),
        (8, 2, 0, 100, 4, "8 cores"),
        (8, 1, 3, 100, 5, "8 cores, 3 of them taken by other models"),
        (2, 1, 5, 100, 1, "2 cores, 5 of them taken by other models"),
        (8, 1, 0, 2, 4, "2.0 GB of memory are left, of which 1.0 GB stay free, and a worker takes 0.50 GB"),
        (8, 1, 0, 1, 2, "1.0 GB of memory are left, of which 1.0 GB stay free, and a worker takes 0.50 GB"),
    ],
)
def test_the_scarcer_of_cores_and_memory_decides(
    cores: int, threads: int, others: int, available_gb: int, most: int, limit: str
) -> None:
    machine = Machine(cores, 10 * GB, available_gb * GB)
    found = capacity(machine, workers=2, threads=threads, claimed_by_others=others, bytes_per_worker=GB // 2)
    assert (found.workers, found.limit) == (most, limit)
