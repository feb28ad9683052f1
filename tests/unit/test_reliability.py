"""The tables of docs/reliability.md, and who judges what is written there."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import requests

from tests.reliability import deployments, several_hosts
from tests.reliability.__main__ import EXPERIMENTS, Experiment, command_line, run
from tests.reliability.crowd import Answer, Known, beside, judged, summed_up
from tests.reliability.deployments import Moment, Tried
from tests.reliability.table import HEADING, Row, written
from tests.reliability.versions import Caller

PAGE_BEFORE = "text\n<!-- faults -->\n| `a` | old a |\n| `gone` | old |\n| `b` | old b |\n<!-- end of faults -->\nmore"


def test_rows_that_did_not_run_keep_their_line_and_rows_that_are_no_more_go() -> None:
    page = written(PAGE_BEFORE, "faults", {"b": "| `b` | new b |", "c": "| `c` | new c |"}, ["c", "a", "b"])
    table = f"<!-- faults -->\n{HEADING}\n| `c` | new c |\n| `a` | old a |\n| `b` | new b |\n<!-- end of faults -->"
    assert page == f"text\n{table}\nmore"


def test_a_row_that_was_never_run_says_so() -> None:
    line = next(line for line in written(PAGE_BEFORE, "faults", {}, ["a", "d"]).splitlines() if "`d`" in line)
    assert line.startswith("| `d` | not measured yet |")
    assert line.count("|") == HEADING.splitlines()[0].count("|")


def test_a_table_that_is_written_again_stays_the_same() -> None:
    once = written(PAGE_BEFORE, "faults", {}, ["a", "b"])
    assert written(once, "faults", {}, ["a", "b"]) == once


def test_a_line_stays_one_line_with_as_many_cells_as_the_heading() -> None:
    line = Row("kill | it\nnow", "16 × 200", 3.21, "nothing", holds=False).cells("kill", "today")
    assert line == r"| `kill` | kill \| it now | 16 × 200 | 3.2 s | nothing | **BROKEN** | today |"
    assert line.replace(r"\|", "").count("|") == HEADING.splitlines()[0].count("|")


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_the_page_has_each_row_of_each_experiment_measured_or_not(experiment: str) -> None:
    tried = Experiment(experiment)
    page = tried.page.read_text(encoding="utf-8")
    assert written(page, experiment, {}, list(tried.rows)) == page


def test_a_page_without_a_place_for_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks the markers"):
        written("nothing here", "faults", {}, [])


@pytest.mark.parametrize("arguments", [[], *([name] for name in EXPERIMENTS)])
def test_help_says_what_each_experiment_does_how_long_it_takes_and_which_rows_it_has(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        command_line().parse_args([*arguments, "--help"])
    told = capsys.readouterr().out
    assert ended.value.code == 0
    for name in arguments:
        assert "It takes " in told.replace("\n", " ")
        assert set(Experiment(name).rows) < set(told.split())
    assert arguments or all(name in told for name in EXPERIMENTS)


@pytest.mark.parametrize("its_end_breaks", [False, True])
def test_a_row_that_does_not_hold_leaves_its_stack_to_no_other(
    its_end_breaks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []

    class Stage:
        def clear(self) -> None:
            happened.append("cleared")
            assert not its_end_breaks

    def row(name: str, *, holds: bool) -> Callable[[Stage], Row]:
        return lambda _: happened.append(name) or Row(name, "", None, "nothing", holds)  # type: ignore[func-returns-value]

    def breaks(_: Stage) -> Row:
        raise AssertionError("not well before")

    module = ModuleType("tests.reliability.made_up", "Made up.")
    vars(module).update(
        ROWS={
            "good": row("good", holds=True),
            "bad": row("bad", holds=False),
            "breaks": breaks,
            "last": row("last", holds=True),
        },
        stage=lambda _: nullcontext(Stage()),
    )
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert not run(Experiment("made-up"), argparse.Namespace(only=None, write=False))
    assert happened == ["good", "bad", "cleared", "cleared", "last"]


def test_what_is_sent_beside_a_block_ends_with_it_and_what_breaks_it_is_raised() -> None:
    seen: list[str] = []

    async def send(end: asyncio.Event) -> None:
        seen.append("begins")
        await end.wait()
        seen.append("ends")

    async def breaks(_: asyncio.Event) -> None:
        raise RuntimeError("no session")

    with beside(send, "senders"):
        assert "ends" not in seen
    assert seen == ["begins", "ends"]
    with pytest.raises(RuntimeError, match="no session"), beside(breaks, "senders"):
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ((200, [{"label": "of version 2.0 cat"}]), "right"),
        ((200, [{"label": "of version 3.0 cat"}]), "wrong: version 3.0"),
        ((503, {}), "503"),
        ((500, {}), "wrong: status 500"),
        (requests.ConnectionError(), "refused"),
        (requests.ReadTimeout(), "wrong: no answer"),
    ],
)
def test_whoever_is_there_while_versions_change_knows_what_may_be_answered(
    answer: tuple[int, object] | Exception, outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def post(*_: object, **__: object) -> object:
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(status_code=answer[0], json=lambda: answer[1])

    monkeypatch.setattr(requests, "post", post)
    caller = Caller("http://127.0.0.1:1")
    caller.allowed = frozenset(("1.0", "2.0"))
    assert caller.outcome().startswith(outcome)


MOMENT = Moment(1, "deploy", 1.0, False, "1.0", "2.0", "2.0", False, 3.0, [], {"right": 5}, 0.2)


def moments_of(row: str, file: Path, kill: Callable[[Tried], Moment], monkeypatch: pytest.MonkeyPatch) -> Row:
    options = argparse.Namespace(moments=3, seed=1, add_to=file)
    monkeypatch.setattr(deployments, "tried", lambda seed: nullcontext(seed))
    monkeypatch.setattr(Tried, {"killed": "kill_everything", "command-killed": "kill_command"}[row], kill)
    return deployments.ROWS[row](options)


def test_moments_of_earlier_runs_count_for_their_own_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "moments"
    for row, count in (("killed", 3), ("command-killed", 3), ("killed", 6)):
        found = moments_of(row, file, lambda _: MOMENT, monkeypatch)
        assert f"at {count} random moments of {count} deployments" in found.name
        assert found.holds


def test_what_breaks_at_a_moment_breaks_the_row_and_loses_no_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = iter([MOMENT, MOMENT])

    def kill(_: Tried) -> Moment:
        if (moment := next(moments, None)) is None:
            raise AssertionError("it answered 500")
        return moment

    with pytest.raises(AssertionError, match="nothing at all"):
        moments_of("killed", tmp_path / "none", broken_at_once, monkeypatch)
    row = moments_of("killed", tmp_path / "moments", kill, monkeypatch)
    assert "at 2 random moments" in row.name
    assert "after 2 moments" in row.lost
    assert not row.holds


def broken_at_once(_: Tried) -> Moment:
    raise AssertionError("nothing at all")


ANSWER = {"model": "m", "predictions": [{"class_id": 1, "label": "cat", "probability": 0.75}]}
KNOWN = Known(b"picture", "m", [(1, "cat", 0.75)])


@pytest.mark.parametrize(
    ("status", "headers", "content", "outcome"),
    [
        (200, {}, ANSWER, "right"),
        (200, {}, {**ANSWER, "predictions": [{"class_id": 1, "label": "cat", "probability": 0.750001}]}, "right"),
        (200, {}, {**ANSWER, "predictions": [{"class_id": 1, "label": "cat", "probability": 0.76}]}, "wrong"),
        (200, {}, {**ANSWER, "predictions": [{"class_id": 2, "label": "cat", "probability": 0.75}]}, "wrong"),
        (200, {}, {**ANSWER, "predictions": []}, "wrong"),
        (200, {}, {**ANSWER, "model": "another"}, "wrong"),
        (200, {}, ["nothing of the kind"], "wrong"),
        (503, {"Retry-After": "1"}, {}, "overload"),
        (503, {}, {}, "odd"),
        (504, {}, {}, "overload"),
        (500, {"Retry-After": "1"}, {}, "odd"),
        (400, {}, {}, "odd"),
    ],
)
def test_a_caller_judges_an_answer_by_its_content(
    status: int, headers: dict[str, str], content: object, outcome: str
) -> None:
    assert judged(KNOWN, status, headers.get("Retry-After"), content) == outcome


def test_callers_are_counted_by_what_they_saw_and_who_was_not_answered_is_found() -> None:
    answers = [
        Answer("right", 0.0, 0.5, "200", from_cache=True),
        Answer("right", 0.0, 1.5, "200"),
        Answer("gone", 1.0, 1.1, "refused or reset"),
        Answer("gone", 3.0, 3.1, "refused or reset"),
        Answer("hung", 0.0, 12.0, "no answer in 12 s"),
    ]
    told = "2 × 200 (1 from the cache), 1 × no answer in 12 s, 2 × refused or reset, nobody there for 2.1 s"
    assert summed_up(answers) == f"{told}; longest 12.0 s"


def test_a_host_is_seen_to_leave_the_rotation_while_its_stop_still_takes_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stopping, seen = threading.Event(), threading.Event()

    class Proxied:
        def is_in_rotation(self, _: str) -> bool:
            if stopping.is_set():
                seen.set()
            return not stopping.is_set()

        def requests(self) -> list[dict[str, object]]:
            return [{"host": "host0", "status": 200, "retries": "0", "ended": "--"}] * next(lengths)

    lengths = itertools.count()
    monkeypatch.setattr(several_hosts.Hosts, "_wait_until_calm", lambda _: None)
    host: Any = SimpleNamespace(name="host0", status=lambda _: 200)
    crowd: Any = SimpleNamespace(since=lambda _: [Answer("right", 1.0, 2.0, "200")])
    network: Any = None
    proxied: Any = Proxied()

    def stop(_: object) -> None:
        stopping.set()
        assert seen.wait(10)

    hosts = several_hosts.Hosts([host], network, proxied, crowd)
    row = hosts.inflict("stop", stop, lambda _: stopping.clear())
    assert row.holds, row
