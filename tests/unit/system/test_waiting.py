"""Waiting for something, with a deadline."""

from __future__ import annotations

import math

import pytest

from marserve.system import waiting
from marserve.system.waiting import wait_until


class Clock:
    """Time that only passes in sleep."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(waiting, "time", clock)
    return clock


def test_what_is_true_at_once_is_not_waited_for(clock: Clock) -> None:
    assert wait_until(lambda: "here", 5) == "here"
    assert clock.now == 0


def test_the_first_true_result_is_returned(clock: Clock) -> None:
    assert wait_until(lambda: clock.now if clock.now >= 3 else 0.0, math.inf, poll_s=1) == 3


def test_at_the_deadline_it_is_tried_a_last_time(clock: Clock) -> None:
    tried: list[float] = []
    assert wait_until(lambda: tried.append(clock.now), 2.5, poll_s=1) is None
    assert tried == [0, 1, 2, 2.5]


def test_nothing_is_waited_for_that_can_no_longer_come(clock: Clock) -> None:
    assert not wait_until(lambda: False, math.inf, poll_s=1, while_alive=lambda: clock.now < 2)
    assert clock.now == 2
