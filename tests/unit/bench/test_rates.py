"""The search ends at the highest rate that is held; bursts stand beside what an all-knowing scheduler could do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench import rates
from bench.measurements import Journal, Summary
from bench.rates import STEPS, Measured, Rates, held_rates, highest_held, rate_of, reached, step_of
from bench.target import BodyFormat, Target
from marserve.plan.arrivals import ArrivalProcess
from marserve.plan.load import OpenLoad
from tests.unit.bench.records import load


@pytest.mark.parametrize("highest", [0, 1, 57, 100, STEPS - 1])
@pytest.mark.parametrize("start", [0, 50, 100, STEPS + 5])
def test_search_ends_at_the_highest_held_step_after_few_runs(highest: int, start: int) -> None:
    tried: list[int] = []

    def is_held(step: int) -> bool:
        tried.append(step)
        return step <= highest

    assert highest_held(is_held, start) == highest
    assert len(tried) == len(set(tried)) <= 16


def test_nothing_is_held_by_a_server_that_always_fails() -> None:
    assert highest_held(lambda _: False, 40) is None


def test_nothing_is_tried_below_the_lowest_step() -> None:
    tried: list[int] = []
    assert highest_held(lambda step: bool(tried.append(step)), 40, 30) is None  # type: ignore[func-returns-value]
    assert min(tried) == 30


def test_near_start_is_found_in_three_runs() -> None:
    tried: list[int] = []
    highest_held(lambda step: bool(tried.append(step)) or step <= 41, 40)  # type: ignore[func-returns-value]
    assert tried == [40, 41, 43, 42]


def test_scale_has_steps_of_four_percent() -> None:
    assert rate_of(step_of(200.0)) == pytest.approx(200, rel=0.02)
    assert rate_of(STEPS - 1) > 10_000


class SimulatedServer:
    """Answers in time what comes at up to ``per_second``; beyond, refuses one in ten."""

    def __init__(self, per_second: float, monkeypatch: pytest.MonkeyPatch, *, valid: bool = True) -> None:
        self.runs: list[tuple[float, int | None]] = []
        self._per_second = per_second
        self._lag_s = 0.0 if valid else 1.0
        monkeypatch.setattr(rates, "run_open_loop", self._run)

    def _run(self, _: Target, __: Path, due: list[float], *, first: int, deadline_ms: int | None) -> OpenLoad:
        assert first > 0
        rate = len(due) / due[-1]
        self.runs.append((rate, deadline_ms))
        is_late = rate > self._per_second
        status = tuple(503 if is_late and number % 10 == 0 else 200 for number in range(len(due)))
        sent = tuple(at + self._lag_s for at in due)
        return OpenLoad(tuple(due), sent, tuple(at + 0.05 for at in due), status, {}, 0.1, 5)


def measured(tmp_path: Path, *, takes_deadlines: bool) -> Measured:
    fields: dict[str, Any] = {
        "candidate": "ours/int8/web",
        "server": "ours/int8",
        "title": "ours",
        "ours": True,
        "device": "cpu",
    }
    target = Target(1, "/", BodyFormat(), takes_deadlines=takes_deadlines)
    return Measured(fields, target, tmp_path, capacity_per_s=300.0, round_number=1)


@pytest.mark.parametrize("takes_deadlines", [True, False])
def test_held_rates_are_noted_by_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, takes_deadlines: bool) -> None:
    server = SimulatedServer(180.0, monkeypatch)
    journal = Journal(tmp_path / "measurements.jsonl")
    journal.add(**load("ours/int8/web", 300.0))
    settled: list[None] = []
    part = Rates(journal, [ArrivalProcess("poisson")], 200)
    part.search(measured(tmp_path, takes_deadlines=takes_deadlines), lambda: settled.append(None))
    assert [(held.limit_ms, held.per_second.median) for held in held_rates(Summary(journal.records))] == [
        (100, rate_of(step_of(176.0))), (250, rate_of(step_of(176.0))),
    ]  # fmt: skip
    deadlines = {deadline for _, deadline in server.runs}
    assert deadlines == ({100, 250} if takes_deadlines else {None})
    assert len(settled) == len(server.runs)
    # The same requests at the same rate need no second run; and a resumed campaign none at all.
    assert len(server.runs) == len(set(server.runs))
    assert part.are_searched("ours/int8/web", 1)
    part.search(measured(tmp_path, takes_deadlines=takes_deadlines), lambda: settled.append(None))
    assert len(settled) == len(server.runs)


def test_run_with_a_late_generator_is_made_again_and_then_marked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = SimulatedServer(180.0, monkeypatch, valid=False)
    journal = Journal(tmp_path / "measurements.jsonl")
    journal.add(**load("ours/int8/web", 300.0))
    Rates(journal, [ArrivalProcess("poisson")], 200).search(measured(tmp_path, takes_deadlines=False), lambda: None)
    assert len(server.runs) == 2 * len(set(server.runs))
    assert not any(held.valid for held in held_rates(Summary(journal.records)))


def test_bursts_stand_beside_what_an_all_knowing_scheduler_could(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    SimulatedServer(10.0, monkeypatch)
    journal = Journal(tmp_path / "measurements.jsonl")
    journal.add(**load("ours/int8/web", 300.0))
    part = Rates(journal, [], 1000)
    part.bursts(measured(tmp_path, takes_deadlines=True), lambda: None)
    (bursts,) = reached(Summary(journal.records))
    assert bursts.per_second.median == pytest.approx(255)
    assert bursts.in_time.median == 0.9
    assert bursts.refused.median == pytest.approx(0.1)
    assert 0.3 < bursts.all_knowing.median < 1
    assert (bursts.late, bursts.worst_late_ms) == (0, 0)
    assert part.has_bursts("ours/int8/web", 1)
    assert not part.has_bursts("ours/int8/web", 2)
