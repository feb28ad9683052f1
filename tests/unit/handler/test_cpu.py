from pathlib import Path

import pytest

from marserve.handler.resnet18.cpu import THREADS_VARIABLE, threads_of_worker, usable_cores
from tests.unit.cgroup_trees import SYSTEMS, cpu_quota, make_tree


@pytest.fixture(autouse=True)
def _eight_cores_and_no_word_about_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.delenv(THREADS_VARIABLE, raising=False)


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize(("quota", "cores"), [(-1, 8), (200_000, 2), (100_000, 1), (50_000, 1), (9_900_000, 8)])
def test_a_container_quota_caps_the_cores(tmp_path: Path, system: str, quota: int, cores: int) -> None:
    assert usable_cores(make_tree(tmp_path, system, cpu_quota(system, "/pod/container", quota))) == cores


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize(("pod", "container"), [(200_000, 600_000), (600_000, 200_000), (200_000, -1)])
def test_of_nested_quotas_the_strictest_holds(tmp_path: Path, system: str, pod: int, container: int) -> None:
    files = cpu_quota(system, "/pod", pod) | cpu_quota(system, "/pod/container", container)
    assert usable_cores(make_tree(tmp_path, system, files)) == 2


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize(("at", "root"), [("/docker/7a", "/docker/7a"), ("/", "/"), ("/", "/../..")])
def test_a_container_finds_its_own_quota_where_it_is_mounted(tmp_path: Path, system: str, at: str, root: str) -> None:
    assert usable_cores(make_tree(tmp_path, system, cpu_quota(system, "", 300_000), at=at, root=root)) == 3


def test_another_cgroups_quota_does_not_count(tmp_path: Path) -> None:
    files = cpu_quota("v1", "/pod/container", 400_000) | cpu_quota("v1", "/pod/other", 100_000)
    assert usable_cores(make_tree(tmp_path, "v1", files)) == 4


@pytest.mark.parametrize("text", ["nonsense", "1 2 3", "100000 0", ""])
def test_what_is_no_quota_is_passed_over(tmp_path: Path, text: str) -> None:
    assert usable_cores(make_tree(tmp_path, "v2", {"unified/pod/container/cpu.max": text})) == 8


def test_without_cgroups_the_affinity_counts(tmp_path: Path) -> None:
    assert usable_cores(tmp_path / "absent") == 8


@pytest.mark.parametrize(
    ("sent", "configured", "threads"),
    [
        ("2", None, 2),
        ("2", 8, 2),
        ("16", None, 16),
        ("", 4, 2),
        ("", 16, 1),
        ("", None, 1),
        ("0", None, 1),
        ("x", 2, 4),
    ],
)
def test_a_worker_takes_the_threads_that_it_is_sent_and_else_its_share_of_the_cores(
    monkeypatch: pytest.MonkeyPatch, sent: str, configured: int | None, threads: int
) -> None:
    monkeypatch.setenv(THREADS_VARIABLE, sent)
    assert threads_of_worker(configured, cores=8) == threads
