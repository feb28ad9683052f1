import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from marserve.handler.resnet18.cpu import THREADS_VARIABLE, map_in_threads, threads_of_worker, usable_cores
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


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(7) as threads:
        yield threads


@pytest.mark.parametrize(
    ("items", "threads", "used"), [(8, 1, 1), (8, 3, 3), (8, 8, 8), (2, 8, 2), (1, 8, 1), (0, 8, 0)]
)
def test_items_are_shared_by_as_many_threads_as_there_may_be_and_this_is_one(
    pool: ThreadPoolExecutor, items: int, threads: int, used: int
) -> None:
    at_once = threading.Barrier(used) if used else None
    names = set()

    def name_after(item: int) -> int:
        if threading.current_thread() not in names and at_once is not None:
            names.add(threading.current_thread())
            at_once.wait(10)  # until all of them have an item
        return -item

    assert map_in_threads(name_after, range(items), threads, pool) == [-item for item in range(items)]
    assert len(names) == used
    assert (threading.current_thread() in names) == bool(items)


def test_a_slow_item_does_not_hold_up_the_others(pool: ThreadPoolExecutor) -> None:
    done: list[int] = []

    def work(item: int) -> None:
        if item == 0:
            until = time.monotonic() + 10
            while len(done) < 5 and time.monotonic() < until:
                time.sleep(0.001)
        done.append(item)

    map_in_threads(work, range(6), 2, pool)
    assert done == [1, 2, 3, 4, 5, 0]


@pytest.mark.parametrize("bad", [0, 5])
def test_what_an_item_raises_is_raised(pool: ThreadPoolExecutor, bad: int) -> None:
    def work(item: int) -> float:
        return 1 / (item - bad)

    with pytest.raises(ZeroDivisionError):
        map_in_threads(work, range(6), 3, pool)
