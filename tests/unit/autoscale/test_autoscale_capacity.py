"""Cores and memory set the limit."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from marserve.autoscale.capacity import Machine, capacity
from marserve.autoscale.machine import LEAST_RESERVE_BYTES, read_machine, worker_bytes

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
    machine = Machine(cores, available_gb * GB, GB)
    found = capacity(machine, workers=2, threads=threads, claimed_by_others=others, bytes_per_worker=GB // 2)
    assert (found.workers, found.limit) == (most, limit)


def test_a_containers_limit_counts_and_its_file_pages_count_as_free(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1000000000\n")
    (tmp_path / "memory.current").write_text("700000000\n")
    (tmp_path / "memory.stat").write_text("anon 500000000\ninactive_file 200000000\n")
    machine = read_machine(tmp_path)
    assert (machine.available_bytes, machine.reserve_bytes) == (500_000_000, LEAST_RESERVE_BYTES)


@pytest.mark.parametrize("limit", ["max\n", None])
def test_without_a_limit_the_machines_memory_counts(tmp_path: Path, limit: str | None) -> None:
    if limit is not None:
        (tmp_path / "memory.max").write_text(limit)
    machine = read_machine(tmp_path)
    assert 0 < machine.available_bytes <= psutil.virtual_memory().total


def test_the_largest_worker_is_the_measure_and_one_that_ended_is_passed_over() -> None:
    own = psutil.Process().memory_info().rss
    assert worker_bytes([psutil.Process().pid, 2**22 + 1]) == pytest.approx(own, rel=0.2)
    assert worker_bytes([]) == 0
