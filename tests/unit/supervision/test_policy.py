"""When a service is ended and started again, in simulated time."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from marserve.supervision.policy import BACKOFF_S, HEALTHY_S, STOPPED_S, Act, Phase, Seen, StoppedProcesses, Watched

TICK_S = 0.25
SILENT = "no answer on /healthz"
LIMITS_S = {SILENT: 8.0}
FINE = Seen(answers={SILENT: True})


class Simulation:
    """A service that is looked at four times a second; ``behave`` says what is seen of it so long after its start."""

    def __init__(self, start_s: float = 60.0) -> None:
        self.now_s = 1000.0
        self.watched = Watched(start_s, LIMITS_S, self.now_s)
        self.born_s = self.now_s
        #: When it was started again, and why.
        self.starts: list[float] = []
        self.ends: list[tuple[float, str]] = []

    def run(self, seconds: float, behave: Callable[[float], Seen]) -> None:
        until_s = self.now_s + seconds
        while self.now_s < until_s:
            self.now_s += TICK_S
            act = self.watched.step(self.now_s, behave(self.now_s - self.born_s))
            if act is Act.END:
                self.ends.append((self.now_s, self.watched.reason))
            elif act is Act.START:
                self.starts.append(self.now_s)
                self.born_s = self.now_s
                self.watched.started(self.now_s)


def works(_age_s: float) -> Seen:
    return Seen(is_ready=True, answers={SILENT: True})


def dies_at(age_s: float) -> Callable[[float], Seen]:
    return lambda now_s: Seen(ended="exit status 1") if now_s >= age_s else works(now_s)


def test_a_service_that_works_is_left_alone() -> None:
    simulation = Simulation()
    simulation.run(1000, works)
    assert (simulation.ends, simulation.starts) == ([], [])


def test_one_that_ends_is_started_again_at_once_with_the_reason() -> None:
    simulation = Simulation()
    simulation.run(TICK_S, dies_at(0))
    assert simulation.watched.reason == "exit status 1"
    simulation.run(TICK_S, works)
    assert simulation.starts == [simulation.now_s]
    simulation.run(TICK_S, works)
    assert simulation.watched.phase is Phase.HEALTHY


def test_one_that_fails_at_once_is_started_ever_more_slowly_and_never_given_up() -> None:
    simulation = Simulation()
    simulation.run(7200, dies_at(0.5))
    waits = [later - earlier for earlier, later in zip(simulation.starts, simulation.starts[1:], strict=False)]
    assert waits[:5] == pytest.approx(BACKOFF_S[1:6], abs=3 * TICK_S)
    assert waits[6:] == pytest.approx([BACKOFF_S[-1]] * len(waits[6:]), abs=3 * TICK_S)
    assert simulation.now_s - simulation.starts[-1] < BACKOFF_S[-1] + 1


def test_one_that_worked_for_longer_than_the_wait_is_back_without_one() -> None:
    simulation = Simulation()
    simulation.run(1000, dies_at(BACKOFF_S[-1]))
    assert len(simulation.starts) >= 30
    for ended, started in zip(simulation.ends, simulation.starts, strict=False):
        assert started - ended[0] <= 2 * TICK_S


def test_a_minute_of_health_wipes_the_slate() -> None:
    simulation = Simulation()
    simulation.run(60, dies_at(0.5))
    assert simulation.watched.attempt > 3
    simulation.run(BACKOFF_S[-1] + HEALTHY_S + 1, works)
    assert simulation.watched.attempt == 0


def test_one_that_never_is_ready_is_ended_and_started_again() -> None:
    simulation = Simulation(start_s=60.0)
    simulation.run(TICK_S, dies_at(0))
    simulation.run(65, lambda _: Seen())
    assert [reason for _, reason in simulation.ends] == ["exit status 1", "it was not ready 60 s after its start"]


def test_a_stopped_process_is_a_hang_after_two_seconds() -> None:
    simulation = Simulation()
    simulation.run(STOPPED_S - TICK_S, lambda _: Seen(is_stopped=True))
    simulation.run(1, works)  # whoever stopped it lets it go on
    assert simulation.ends == []
    stopped_s = simulation.now_s
    simulation.run(3, lambda _: Seen(is_stopped=True))
    ((ended_s, reason),) = simulation.ends
    assert ended_s - stopped_s == pytest.approx(STOPPED_S, abs=2 * TICK_S)
    assert "SIGSTOP" in reason


def test_silence_is_a_hang_only_when_it_lasts() -> None:
    simulation = Simulation()
    for _ in range(50):
        simulation.run(LIMITS_S[SILENT] - 1, lambda _: Seen(answers={SILENT: False}))
        simulation.run(TICK_S, lambda _: FINE)
    assert simulation.ends == []
    simulation.run(LIMITS_S[SILENT] + 1, lambda _: Seen(answers={SILENT: False}))
    assert [reason for _, reason in simulation.ends] == ["no answer on /healthz for 8 s"]


def test_a_check_that_brings_no_result_is_no_failure() -> None:
    """Under load an answer may come late: what counts is that it comes."""
    simulation = Simulation()
    simulation.run(LIMITS_S[SILENT] - 1, lambda _: Seen(answers={SILENT: False}))
    simulation.run(1000, lambda _: Seen())
    simulation.run(TICK_S, lambda _: FINE)
    assert simulation.ends == []


def test_time_in_which_the_supervisor_itself_did_not_run_is_nobodys_fault() -> None:
    simulation = Simulation()
    simulation.run(LIMITS_S[SILENT] - 1, lambda _: Seen(answers={SILENT: False}))
    simulation.now_s += 300  # it was stopped itself, or the machine was
    simulation.run(LIMITS_S[SILENT] - 1, lambda _: Seen(answers={SILENT: False}))
    simulation.now_s += 300
    simulation.run(STOPPED_S - TICK_S, lambda _: Seen(is_stopped=True))
    assert simulation.ends == []


def test_a_start_is_given_the_time_in_which_nobody_looked() -> None:
    simulation = Simulation(start_s=60.0)
    simulation.run(TICK_S, dies_at(0))
    simulation.run(30, lambda _: Seen())
    simulation.now_s += 300
    simulation.run(25, lambda _: Seen())
    assert len(simulation.ends) == 1
    simulation.run(10, lambda _: Seen())
    assert len(simulation.ends) == 2


def test_a_start_that_fails_is_tried_again_with_the_same_waits() -> None:
    watched = Watched(60.0, LIMITS_S, 0.0)
    now_s, waits = 0.0, []
    watched.fail(now_s, "the port is taken")
    for _ in range(8):
        begun_s = now_s
        while watched.step(now_s, Seen()) is not Act.START:
            now_s += TICK_S
        waits.append(now_s - begun_s)
        watched.fail(now_s, "the port is taken")
    assert waits == [*BACKOFF_S, BACKOFF_S[-1]]
    assert watched.failed_at_s == 0.0  # since when it is away


def test_of_many_processes_those_that_stay_stopped_are_found() -> None:
    stopped = StoppedProcesses()
    assert [stopped.step(s, [7, 8]) for s in (100.0, 100.5)] == [[], []]
    assert stopped.step(101.0, [7]) == [7]
    assert stopped.step(101.5, [7, 8]) == [7]
    assert stopped.step(500.0, [7, 8]) == []  # nobody looked meanwhile
