"""Memory and cores that a machine or a container has left."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from marserve.system.machine import LEAST_RESERVE_BYTES, read_machine, visible_gpus
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


def nvidia_smi(directory: Path, script: str) -> dict[str, str]:
    """An environment whose nvidia-smi is ``script``."""
    file = directory / "nvidia-smi"
    file.write_text(f"#!/bin/sh\n{script}\n", encoding="ascii")
    file.chmod(0o755)
    return {"PATH": str(directory)}


TWO_GPUS = """echo 'GPU 0: NVIDIA H200 (UUID: GPU-8d1b6c2e)'
echo '  MIG 1g.18gb     Device  0: (UUID: MIG-5b1c)'
echo 'GPU 1: NVIDIA H200 (UUID: GPU-11aa77f0)'"""


@pytest.mark.parametrize(
    ("chosen", "count"),
    [
        (None, 2), ("", 0), ("1", 1), ("0,1", 2), ("1,-1,0", 1), ("-1", 0), ("0,1,2,3", 2), ("GPU-8d1b6c2e", 1),
    ],
)  # fmt: skip
def test_gpus_are_those_that_cuda_may_see(tmp_path: Path, chosen: str | None, count: int) -> None:
    environ = nvidia_smi(tmp_path, TWO_GPUS)
    assert visible_gpus(environ if chosen is None else environ | {"CUDA_VISIBLE_DEVICES": chosen}) == count


@pytest.mark.parametrize("script", ["echo 'No devices were found'; exit 6", "echo 'GPU 0: it' >&2; exit 9", "exit 0"])
def test_there_is_no_gpu_where_nvidia_smi_finds_none(tmp_path: Path, script: str) -> None:
    assert visible_gpus(nvidia_smi(tmp_path, script)) == 0


def test_there_is_no_gpu_without_nvidia_smi(tmp_path: Path) -> None:
    assert visible_gpus({"PATH": str(tmp_path)}) == 0
