"""Which listed workers live, and which come back when some are dead."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path

import psutil
import pytest

from marserve.manage.scaling import workers_to_keep
from marserve.torchserve.worker_process import WorkerReport, WorkerState, inspect_workers, resident_bytes
from tests.unit.manage.listed import a_version
from tests.unit.torchserve.test_log_lines import torchserve_line

#: A process id that no system gives.
NOBODY = 2**30


@pytest.fixture
def worker_pid(tmp_path: Path) -> Iterator[int]:
    """A process whose command line is a worker's."""
    program = tmp_path / "model_service_worker.py"
    program.write_text("print(flush=True); input()")
    with subprocess.Popen([sys.executable, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.kill()


def test_a_worker_that_lives_is_measured(worker_pid: int, tmp_path: Path) -> None:
    [report] = inspect_workers(a_version(pids=(worker_pid,)), tmp_path)
    assert report.state == "ready"
    assert report.rss is not None
    assert report.rss > 1_000_000


def test_the_memory_of_a_worker_is_known_as_long_as_it_lives(worker_pid: int) -> None:
    own = psutil.Process(worker_pid).memory_info().rss
    assert resident_bytes(worker_pid) == pytest.approx(own, rel=0.2)
    assert resident_bytes(NOBODY) is None


def test_a_worker_that_lives_but_is_not_ready_is_starting(worker_pid: int, tmp_path: Path) -> None:
    [report] = inspect_workers(a_version(pids=(worker_pid,), status="UNLOADING"), tmp_path)
    assert report.state == "starting"


@pytest.mark.parametrize("pid", [NOBODY, 0, -1])
@pytest.mark.parametrize("status", ["READY", "UNLOADING"])
def test_a_worker_without_a_process_is_dead_whatever_its_status(pid: int, status: str, tmp_path: Path) -> None:
    [report] = inspect_workers(a_version(pids=(pid,), status=status), tmp_path)
    assert (report.state, report.rss) == ("dead", None)


def test_another_process_with_a_workers_id_is_no_worker(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        [report] = inspect_workers(a_version(pids=(process.pid,)), tmp_path)
        process.kill()
    assert report.state == "dead"


@pytest.mark.parametrize(
    ("said", "seconds_ago", "state"),
    [
        ("Retry worker: 9000 in 13 seconds.", 5, "restarting"),
        ("Retry worker: 9000 in 13 seconds.", 60, "dead"),
        ("Connecting to: /tmp/.ts.sock.9000", 1, "restarting"),
        ("Auto recovery failed again", 5, "dead"),
    ],
)
def test_what_torchserve_said_last_tells_whether_it_tries_again(
    said: str, seconds_ago: float, state: WorkerState, tmp_path: Path
) -> None:
    at = datetime.now(timezone.utc) - timedelta(seconds=seconds_ago)
    lines = [
        torchserve_line("Retry worker: 9000 in 1 seconds.", at=at - timedelta(days=1), thread="W-9000-resnet18_1.0"),
        torchserve_line(said, at=at, thread="W-9000-resnet18_1.0"),
        torchserve_line("Connecting to: elsewhere", at=at, thread="W-9000-resnet18_2.0"),
    ]
    (tmp_path / "ts_log.log").write_text("\n".join(lines))
    [report] = inspect_workers(a_version(pids=(NOBODY,), status="UNLOADING"), tmp_path)
    assert report.state == state


@pytest.mark.parametrize(
    ("states", "kept"),
    [
        (["dead"], 0),
        (["ready", "dead"], 1),
        (["dead", "ready"], 0),
        (["ready", "ready", "dead", "ready"], 2),
        (["starting", "dead", "ready"], 0),
    ],
)
def test_workers_before_the_first_dead_one_stay_where_one_of_them_works(
    states: Sequence[WorkerState], kept: int
) -> None:
    workers = [WorkerReport(str(i), i, state, None, None, None) for i, state in enumerate(states)]
    assert workers_to_keep(workers) == kept


def test_time_zones_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    try:
        at = datetime.now(timezone.utc)
        line = torchserve_line("Retry worker: 9000 in 13 seconds.", at=at, thread="W-9000-resnet18_1.0")
        (tmp_path / "ts_log.log").write_text(line)
        [report] = inspect_workers(a_version(pids=(NOBODY,), status="UNLOADING"), tmp_path)
        assert report.state == "restarting"
    finally:
        monkeypatch.undo()
        time.tzset()
