"""What the autoscaler decides, from what was observed alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from marserve.autoscale.policy import Capacity, Ground, Observation, decide
from marserve.autoscale.rules import Rules
from marserve.torchserve.metrics import Counters

RULES = Rules(1, 8)
PLENTY = Capacity(64, "64 cores")


def seconds_of(
    count: int,
    workers: int,
    *,
    per_s: float = 50.0,
    answered: float | None = None,
    wait_s: float = 0.0,
    busy: float = 0.5,
    pending: int = 0,
    ready: int | None = None,
) -> list[Observation]:
    """``count`` equal seconds."""
    came = per_s if answered is None else answered
    traffic = Counters(per_s, came, came * wait_s, busy)
    ready = workers if ready is None else ready
    return [Observation(float(second + 1), 1.0, traffic, workers, ready, pending) for second in range(count)]


def test_requests_that_wait_bring_as_many_workers_as_they_need() -> None:
    # Half of what comes is answered by two workers that have no pause: all of it needs four, and some room.
    history = seconds_of(5, 2, per_s=100, answered=50, wait_s=0.5, busy=2.0, pending=50)
    decision = decide(history, 0.0, RULES, PLENTY)
    assert (decision.workers, decision.ground) == (5, Ground.WAITING)
    assert decision.reason == "100.0 requests/s wait 1000 ms (target 100 ms) and need 4.0 workers"


def test_a_queue_that_grows_is_seen_before_those_in_it_are_answered() -> None:
    history = seconds_of(5, 1, per_s=60, answered=20, wait_s=0.02, busy=1.0, pending=40)
    assert decide(history, 0.0, RULES, PLENTY).ground is Ground.WAITING


def test_refused_requests_count_as_demand_though_they_do_not_wait() -> None:
    history = seconds_of(5, 1, per_s=1000, answered=60, wait_s=0.4, busy=1.0, pending=384)
    assert decide(history, 0.0, RULES, PLENTY).workers == 4, "the largest step"


@pytest.mark.parametrize(
    ("most", "maximum", "workers", "told"),
    [
        (Capacity(3, "3 cores"), 8, 3, "(target 100 ms)"),
        (Capacity(2, "2 cores"), 8, 2, "no more are possible: 2 cores"),
        (Capacity(1, "0.4 GB of memory"), 8, 2, "no more are possible: 0.4 GB of memory"),
        (PLENTY, 2, 2, "no more are possible: 2 are the most allowed"),
    ],
)
def test_there_are_never_more_than_the_machine_bears_or_was_allowed(
    most: Capacity, maximum: int, workers: int, told: str
) -> None:
    history = seconds_of(5, 2, per_s=100, answered=50, wait_s=0.5, busy=2.0, pending=50)
    decision = decide(history, 0.0, Rules(1, maximum), most)
    assert decision.workers == workers
    assert told in decision.reason


@pytest.mark.parametrize(
    ("listed", "bounds", "workers"),
    [(1, Rules(2, 4), 2), (9, Rules(2, 4), 4)],
)
def test_a_number_out_of_bounds_is_put_right_at_once(listed: int, bounds: Rules, workers: int) -> None:
    decision = decide(seconds_of(1, listed), 0.0, bounds, PLENTY)
    assert (decision.workers, decision.ground) == (workers, Ground.BOUNDS)


@pytest.mark.parametrize(
    ("history", "ground"),
    [
        (seconds_of(1, 2, wait_s=0.5, pending=50), Ground.JUDGING),
        (seconds_of(5, 2, wait_s=0.5, pending=50, ready=1), Ground.STARTING),
        (seconds_of(90, 2, wait_s=0.5, pending=50, ready=0), Ground.STARTING),
        (seconds_of(5, 2, wait_s=0.5, pending=0), Ground.DRAINING),
        (seconds_of(5, 2, wait_s=0.05, pending=2), Ground.WITHIN_TARGET),
        (seconds_of(59, 2, busy=0.1), Ground.WITHIN_TARGET),
        (seconds_of(90, 2, busy=0.8), Ground.WITHIN_TARGET),
        (seconds_of(90, 2, busy=0.1, wait_s=0.06), Ground.WITHIN_TARGET),
        (seconds_of(90, 1, busy=0.1), Ground.WITHIN_TARGET),
    ],
    ids=[
        "too early",
        "a worker starts",
        "no worker",
        "old waits",
        "short wait",
        "early quiet",
        "busy",
        "waits",
        "minimum",
    ],
)
def test_the_number_stays(history: list[Observation], ground: Ground) -> None:
    decision = decide(history, 0.0, RULES, PLENTY)
    assert (decision.workers, decision.ground) == (history[-1].listed, ground)


def test_a_queue_that_becomes_shorter_brings_no_more_workers() -> None:
    history = seconds_of(3, 4, per_s=100, answered=120, wait_s=2.0, busy=3.0)
    history = [replace(seen, pending=pending) for seen, pending in zip(history, [300, 200, 100], strict=True)]
    assert decide(history, 0.0, RULES, PLENTY).ground is Ground.DRAINING


def test_a_worker_that_never_starts_does_not_keep_others_from_being_added() -> None:
    history = seconds_of(90, 2, per_s=100, answered=50, wait_s=0.5, busy=1.0, pending=50, ready=1)
    assert decide(history, 50.0, RULES, PLENTY).workers == 3


def test_quiet_takes_one_worker_away_at_a_time() -> None:
    decision = decide(seconds_of(90, 4, busy=0.4), 0.0, RULES, PLENTY)
    assert (decision.workers, decision.ground) == (3, Ground.QUIET)
    assert decision.reason == "for 60 s requests waited 0 ms and needed 0.4 workers at most"


def test_one_burst_in_the_quiet_time_keeps_the_workers() -> None:
    history = seconds_of(90, 4, busy=0.4)
    history[60:70] = [replace(seen, traffic=replace(seen.traffic, worked_s=3.0)) for seen in history[60:70]]
    assert decide(history, 0.0, RULES, PLENTY).workers == 4


def test_a_change_is_followed_by_a_time_in_which_none_is_taken_away() -> None:
    assert decide(seconds_of(90, 4, busy=0.4), 50.0, RULES, PLENTY).workers == 4


@pytest.mark.parametrize("bounds", [(0, 1), (3, 2)])
def test_impossible_bounds_are_refused(bounds: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="give 1 or more, and no less at the end"):
        Rules(*bounds)
