"""Memory and cores that a machine or a container has left."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from marserve.system.machine import LEAST_RESERVE_BYTES, read_machine
from tests.unit.cgroup_trees import SYSTEMS, cpu_quota, make_tree, memory_limit


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_containers_limit_counts_and_its_file_pages_count_as_free(tmp_path: Path, system: str) -> None:
    files = memory_limit(system, "/pod/container", 1_000_000_000, 700_000_000, 200_000_000)
    machine = read_machine(make_tree(tmp_path, system, files))
    assert (machine.memory_bytes, machine.available_bytes) == (1_000_000_000, 500_000_000)
    assert machine.reserve_bytes == LEAST_RESERVE_BYTES
    assert machine.spare_bytes == 0


@pytest.mark.parametrize("system", SYSTEMS)
def test_what_is_left_below_the_limit_of_an_outer_cgroup_counts_too(tmp_path: Path, system: str) -> None:
    files = memory_limit(system, "/pod", 1_000_000_000, 900_000_000, 0)
    files |= memory_limit(system, "/pod/container", 2_000_000_000, 100_000_000, 0)
    assert read_machine(make_tree(tmp_path, system, files)).available_bytes == 100_000_000


@pytest.mark.parametrize("system", SYSTEMS)
def test_without_a_limit_the_machines_memory_counts(tmp_path: Path, system: str) -> None:
    files = memory_limit(system, "/pod/container", None, 700_000_000, 0)
    machine = read_machine(make_tree(tmp_path, system, files))
    assert 0 < machine.available_bytes <= psutil.virtual_memory().total


def test_without_cgroups_the_machines_memory_counts(tmp_path: Path) -> None:
    assert 0 < read_machine(tmp_path).available_bytes <= psutil.virtual_memory().total


@pytest.mark.parametrize("system", SYSTEMS)
def test_cores_are_those_of_the_container(tmp_path: Path, system: str) -> None:
    assert read_machine(make_tree(tmp_path, system, cpu_quota(system, "/pod", 100_000))).cores == 1
