"""Workers that are stopped are ended; those that TorchServe has given up are replaced, ever more rarely."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from threading import Event
from typing import cast

import psutil
import pytest

from marserve.errors import MarserveError
from marserve.manage.running_stack import RunningStack
from marserve.stack.restarts import Restart
from marserve.stack.run_directory import RunDirectory
from marserve.supervision import workers
from marserve.supervision.policy import WORKER_STOPPED_S
from marserve.supervision.workers import REPLACE_AFTER_S, RESET_S, SETTLE_AGAIN_S, ReplacementLimits, WorkerWatch
from marserve.system.processes import ProcessRecord

DEAD = frozenset({("resnet18", "1.0", "9000")})
#: As WorkerWatch calls it.
EVERY_S = 3.0


@pytest.fixture
def worker() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"]) as process:
        yield process
        process.kill()


def a_watch(process: subprocess.Popen[bytes], told: list[Restart], monkeypatch: pytest.MonkeyPatch) -> WorkerWatch:
    server = ProcessRecord("TorchServe", 1, 0.0)
    monkeypatch.setattr(workers, "_workers_of", lambda _: [psutil.Process(process.pid)])
    return WorkerWatch(lambda: server, lambda: pytest.fail("asked"), told.append, pytest.fail, Event())


def test_a_stopped_worker_is_ended_and_counted_once(
    worker: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Restart] = []
    watch = a_watch(worker, told, monkeypatch)
    now_s = time.monotonic()
    watch.end_stopped(now_s)
    worker.send_signal(signal.SIGSTOP)
    while psutil.Process(worker.pid).status() != psutil.STATUS_STOPPED:
        time.sleep(0.01)
    watch.end_stopped(now_s + 0.25)
    assert worker.poll() is None
    watch.end_stopped(now_s + 0.25 + WORKER_STOPPED_S)
    assert worker.wait(30) == -signal.SIGKILL
    watch.end_stopped(now_s + 0.5 + WORKER_STOPPED_S)
    (restart,) = told
    assert (restart.service, restart.reason) == ("worker", f"worker process {worker.pid} was stopped (SIGSTOP)")


def test_a_look_that_fails_does_not_end_all_further_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    ended, looked, failures = Event(), Event(), [ValueError("a bug"), OSError("no file left")]

    def inspect(_watch: WorkerWatch, _now_s: float) -> None:
        if failures:
            raise failures.pop(0)
        looked.set()

    monkeypatch.setattr(WorkerWatch, "inspect", inspect)
    monkeypatch.setattr(workers, "INSPECT_S", 0.01)
    server = ProcessRecord("TorchServe", 2**30, 0.0)
    WorkerWatch(lambda: server, lambda: pytest.fail("asked"), print, print, ended).start()
    assert looked.wait(30)
    ended.set()


class UnsettledStack:
    """A stack without dead workers."""

    run_directory = RunDirectory(5000)

    def management(self) -> nullcontext[None]:
        return nullcontext()


def test_what_cannot_be_settled_is_tried_again_after_a_while_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[float] = []
    now_s = 0.0

    def settle(*_: object) -> None:
        tries.append(now_s)
        raise MarserveError("It has no version 1.0.")

    monkeypatch.setattr(workers, "settle_interrupted", settle)
    monkeypatch.setattr(workers, "dead_workers", lambda *_: [])
    said: list[str] = []
    stack = cast("RunningStack", UnsettledStack())
    watch = WorkerWatch(lambda: None, lambda: stack, print, said.append, Event())
    while now_s < SETTLE_AGAIN_S + EVERY_S:
        watch.inspect(now_s)
        now_s += EVERY_S
    assert tries == [0.0, SETTLE_AGAIN_S]
    assert said == ["That was not settled, and is tried again in 60 s: It has no version 1.0."] * 2


def replacements(seconds: float, dead_until_s: float) -> list[float]:
    """When workers that stay dead until then are replaced."""
    limits, found, now_s = ReplacementLimits(), [], 1000.0
    while now_s < 1000 + seconds:
        if limits.step(now_s, DEAD if now_s < 1000 + dead_until_s else frozenset()):
            found.append(now_s - 1000)
        now_s += EVERY_S
    return found


def test_a_worker_must_be_found_dead_twice() -> None:
    assert replacements(60, dead_until_s=EVERY_S) == []
    assert replacements(6, dead_until_s=60) == [EVERY_S]


def test_what_does_not_last_is_tried_ever_more_rarely_and_never_given_up() -> None:
    times = replacements(7200, dead_until_s=7200)
    waits = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert waits[:5] == pytest.approx(REPLACE_AFTER_S[1:], abs=EVERY_S)
    assert waits[5:] == pytest.approx([REPLACE_AFTER_S[-1]] * len(waits[5:]), abs=EVERY_S)


def test_a_minute_without_dead_workers_wipes_the_slate() -> None:
    limits = ReplacementLimits()
    assert [limits.step(now_s, DEAD) for now_s in (0.0, 3.0)] == [False, True]
    assert limits.attempts == 1
    limits.step(3.0 + RESET_S + EVERY_S, frozenset())
    assert limits.attempts == 0


def test_the_wait_of_an_earlier_trouble_does_not_hold_up_the_next_one() -> None:
    limits, now_s = ReplacementLimits(), 0.0
    while limits.attempts < len(REPLACE_AFTER_S):
        limits.step(now_s, DEAD)
        now_s += EVERY_S
    limits.step(now_s + RESET_S, frozenset())
    assert not limits.step(now_s + RESET_S + EVERY_S, DEAD)
    assert limits.step(now_s + RESET_S + 2 * EVERY_S, DEAD)
