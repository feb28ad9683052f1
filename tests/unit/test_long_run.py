"""When a long run is said to creep."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from marserve.paths import CLONE
from tests.reliability import long_run
from tests.reliability.crowd import Answer
from tests.reliability.drift import LongRun, Sample
from tests.reliability.long_run import ROWS

MIB = 1 << 20


def hour(
    *, bytes_a_minute: float = 0, files_a_minute: float = 0, threads_a_minute: float = 0, slower: float = 1
) -> LongRun:
    """One of a worker with 200 MiB, an answer in 100 ms a second, and what creeps."""
    run = LongRun(60, began=1000, ended=4600, rate=1)
    for second in range(3600):
        minute = second / 60
        figures = 200 * MIB + bytes_a_minute * minute, 50 + files_a_minute * minute, 20 + threads_a_minute * minute
        run.samples.append(Sample(1000 + second, "worker", 1, *map(int, figures)))
        took = 0.1 * (slower if minute >= 50 else 1)
        run.answers.append(Answer("right", 1000 + second, 1000 + second + took, "200"))
    return run


def broken(run: LongRun) -> set[str]:
    return {name for name, row in ROWS.items() if not row(run).holds}


def test_what_stays_holds() -> None:
    assert broken(hour()) == set()
    assert broken(hour(bytes_a_minute=0.1 * MIB, slower=1.1)) == set()


@pytest.mark.parametrize(
    ("run", "row"),
    [
        (hour(bytes_a_minute=0.3 * MIB), "memory"),
        (hour(files_a_minute=0.5), "files"),
        (hour(threads_a_minute=0.2), "threads"),
        (hour(slower=1.3), "latency"),
    ],
)
def test_what_creeps_is_seen(run: LongRun, row: str) -> None:
    assert broken(run) == {row}


def of_java(minutes: int, *, whole: float, heap: float, left: float) -> LongRun:
    """One of a Java with 250 MiB, 120 of them its heap, of which collections leave 30; all grow by so many MiB."""
    run = LongRun(minutes, began=1000, ended=1000 + 60 * minutes, rate=1)
    for second in range(60 * minutes):
        share = second / (60 * minutes)
        figures = (MIB * (start + grown * share) for start, grown in ((250, whole), (120, heap), (30, left)))
        total, of_heap, live = map(int, figures)
        # Most collections leave what has just been made as well.
        run.samples.append(Sample(1000 + second, "Java", 1, total, 50, 30, of_heap, live + (second % 5) * 10 * MIB))
    return run


@pytest.mark.parametrize(
    ("run", "holds"),
    [
        pytest.param(of_java(3, whole=100, heap=100, left=0), True, id="the heap is made larger"),
        pytest.param(of_java(3, whole=100, heap=100, left=40), False, id="objects are kept"),
        pytest.param(of_java(3, whole=30, heap=0, left=0), False, id="memory beside the heap is kept"),
        pytest.param(of_java(60, whole=0, heap=0, left=0), True, id="an hour in which nothing grows"),
        pytest.param(of_java(60, whole=30, heap=30, left=0), False, id="in an hour the whole counts"),
        pytest.param(of_java(60, whole=0, heap=0, left=12), False, id="and so do the objects"),
    ],
)
def test_java_may_make_its_heap_larger_while_it_warms_up_and_keep_no_more(run: LongRun, holds: bool) -> None:
    assert run.memory().holds == holds, run.memory()


@pytest.mark.parametrize(
    ("minutes", "rest_mib", "holds"),
    [
        pytest.param(3, 72, True, id="what waits on a machine that became slower is given back"),
        pytest.param(3, 92, False, id="what is not given back was kept"),
        pytest.param(60, 72, False, id="in an hour what it usually has counts"),
    ],
)
def test_the_web_service_may_hold_pictures_that_wait(minutes: int, rest_mib: int, holds: bool) -> None:
    run = of_java(minutes, whole=0, heap=0, left=0)
    for second in range(60 * minutes):
        run.samples.append(Sample(1000 + second, "web service", 1, (66 if second < 45 * minutes else 92) * MIB, 17, 7))
    run.samples.append(Sample(run.ended + 1, "web service", 1, 92 * MIB, 17, 7))
    run.samples.append(Sample(run.ended + 15, "web service", 1, rest_mib * MIB, 17, 7))
    assert run.memory().holds == holds, run.memory()


@pytest.mark.parametrize(("outcome", "count"), [("wrong", 1), ("hung", 1), ("odd", 1), ("gone", 1), ("overload", 40)])
def test_answers_that_are_not_right_are_seen(outcome: str, count: int) -> None:
    run = hour()
    run.answers += [Answer(outcome, 2000, 2001, "what was told")] * count  # type: ignore[arg-type]
    assert broken(run) == {"answers"}
    assert f"{count} × what was told" in ROWS["answers"](run).callers_saw


def test_a_change_that_failed_is_told() -> None:
    run = hour()
    run.failed.append("deploy: the disk is full")
    assert broken(run) == {"answers"}
    assert "the disk is full" in ROWS["answers"](run).callers_saw


def test_a_run_that_ends_early_says_so_and_what_was_not_seen_does_not_hold() -> None:
    run = LongRun(60, began=1000, ended=1001)
    assert broken(run) == set(ROWS)
    assert all("stopped early (of 60)" in row(run).name for row in ROWS.values())


class BreakingStack:
    """Starts; ``deploy`` breaks, and so does its end."""

    web = "http://127.0.0.1:1"

    def started(self, *_: str, **__: str) -> None: ...

    def end(self) -> None:
        raise AssertionError("a process is left")


class SteadyLoad:
    def __init__(self, web: str) -> None: ...

    def capacity(self, _: float) -> float:
        return 10.0

    def take(self) -> list[Answer]:
        return [Answer("right", 0.0, 1.0, "200")]

    @contextmanager
    def running(self, _: float) -> Iterator[None]:
        yield


@pytest.fixture
def breaking(monkeypatch: pytest.MonkeyPatch) -> None:
    def manage(stack: BreakingStack, command: str, *_: str) -> Any:
        if command == "deploy":
            raise AssertionError("no such archive")
        return 0, None, ""

    monkeypatch.setattr(long_run, "stack_on_free_ports", BreakingStack)
    monkeypatch.setattr(long_run, "archive", str)
    monkeypatch.setattr(long_run, "edited", lambda *_: "second.mar")
    monkeypatch.setattr(long_run, "MixedLoad", SteadyLoad)
    monkeypatch.setattr(long_run, "manage", manage)
    monkeypatch.setattr(long_run.Observer, "_samples", lambda _: [])
    monkeypatch.setattr(long_run, "REST_S", 0)


@pytest.mark.usefixtures("breaking")
def test_a_step_and_an_end_that_break_are_told_and_the_rows_are_there() -> None:
    seen = long_run.run(minutes=0)
    assert seen.done == ["scale to 2", "scale to 1", "roll back", "drain"]
    assert [what.partition(":")[0] for what in seen.failed] == ["deploy", "stop"]
    row = ROWS["answers"](seen)
    assert not row.holds
    assert "no such archive" in row.callers_saw
    assert "a process is left" in row.callers_saw


@pytest.mark.usefixtures("breaking")
def test_a_load_that_breaks_is_told_and_what_was_answered_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def running(*_: object) -> Iterator[None]:
        yield
        raise RuntimeError("the loop is closed")

    monkeypatch.setattr(SteadyLoad, "running", running)
    seen = long_run.run(minutes=0)
    assert "the run: RuntimeError('the loop is closed')" in seen.failed
    assert seen.answers


def test_the_first_signal_ends_a_run_in_good_order_and_the_second_at_once() -> None:
    interrupted = """
import signal, threading
from tests.reliability.long_run import interrupted_by_signals

before, stopped = signal.getsignal(signal.SIGINT), threading.Event()
with interrupted_by_signals(stopped):
    signal.raise_signal(signal.SIGINT)
    print(stopped.is_set())
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        print("ended at once")
print(signal.getsignal(signal.SIGINT) is before)
"""
    # In a process of its own: in that of all tests, late in a whole run, these signals ended it (SIGSEGV).
    done = subprocess.run([sys.executable, "-c", interrupted], cwd=CLONE, capture_output=True, text=True)
    assert done.stdout.splitlines()[-3:] == ["True", "ended at once", "True"], done.stderr
