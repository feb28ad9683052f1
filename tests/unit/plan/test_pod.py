"""The planner's pod: it waits as queueing theory says, and groups and refuses as the web service's real dispatcher."""

from __future__ import annotations

import heapq
import math
import random
from dataclasses import replace
from itertools import accumulate
from statistics import fmean

import pytest

from bench.simulation.dispatching import WAY_S, capacity_per_s, dispatched
from bench.simulation.server import SimulatedMachine
from marserve.plan.arrivals import arrival_process
from marserve.plan.pod import Pod, simulate
from marserve.plan.pod_spec import PACE_S, PodSpec

SOURCE = random.Random(5)  # noqa: S311
EXPONENTIAL = (tuple(-math.log((number + 0.5) / 2000) for number in range(2000)),)


def poisson(count: int, per_s: float, seed: int = 1) -> list[float]:
    return arrival_process("poisson").times(count, per_s, seed)


def answered(took: list[float | None]) -> list[float]:
    seconds = [each for each in took if each is not None]
    assert len(seconds) == len(took)
    return seconds


def erlang_c(servers: int, load: float) -> float:
    """The probability that somebody waits at M/M/k, ``load`` in servers (Erlang 1917)."""
    blocked = 1.0
    for server in range(1, servers + 1):
        blocked = load * blocked / (server + load * blocked)
    return blocked / (1 - load / servers * (1 - blocked))


@pytest.mark.parametrize(("servers", "load"), [(1, 0.6), (2, 0.8), (8, 0.875)])
def test_exponential_times_wait_as_erlang_c_says(servers: int, load: float) -> None:
    rate = servers * load
    spec = PodSpec(servers, ((1.0,),), noise=EXPONENTIAL)
    waits = [fmean(answered(simulate(spec, poisson(25_000, rate, seed), seed=seed))) - 1 for seed in (1, 2)]
    assert fmean(waits) == pytest.approx(erlang_c(servers, rate) / (servers - rate), rel=0.12)


@pytest.mark.parametrize(
    "noise", [(1.0,), (0.5, 1.5), (0.1, 0.1, 0.1, 3.7)], ids=["M/D/1", "M/G/1", "M/G/1, rare and long"]
)
def test_one_worker_waits_as_pollaczek_and_khinchine_say(noise: tuple[float, ...]) -> None:
    waits = [
        fmean(answered(simulate(PodSpec(1, ((1.0,),), (noise,)), poisson(25_000, 0.6, seed)))) - 1 for seed in (1, 2)
    ]
    second_moment = fmean(each**2 for each in noise)
    assert fmean(waits) == pytest.approx(0.6 * second_moment / (2 * (1 - 0.6)), rel=0.12)


@pytest.mark.parametrize("workers", [1, 3])
def test_any_arrivals_are_served_as_step_by_step(workers: int) -> None:
    due = arrival_process("gamma-4").times(2000, 0.9 * workers, seed=2)
    free_at = [0.0] * workers
    expected = []
    for at in due:
        done = max(heapq.heappop(free_at), at) + 1.0
        heapq.heappush(free_at, done)
        expected.append(done - at)
    assert answered(simulate(PodSpec(workers, ((1.0,),)), due)) == pytest.approx(expected)


@pytest.mark.parametrize("deadline_s", [10.0, 0.1])
@pytest.mark.parametrize("load", [0.5, 0.85])
@pytest.mark.parametrize("name", ["poisson", "gamma-4"])
def test_it_groups_and_refuses_as_the_real_dispatcher(name: str, load: float, deadline_s: float) -> None:
    machine = SimulatedMachine(batch_s=0.001, picture_s=0.005, spread=0.0, max_in_flight=10**6)
    due = arrival_process(name).times(3000, load * capacity_per_s(machine, 2), seed=7)
    spec = replace(machine.pod(2), way_s=WAY_S, deadline_s=deadline_s)
    real = sorted(math.inf if took is None else took for took in dispatched(due, machine, 2, deadline_s, seed=7))
    model = sorted(math.inf if took is None else took for took in simulate(spec, due, seed=7))
    assert sum(took <= 0.1 for took in model) / 3000 == pytest.approx(
        sum(took <= 0.1 for took in real) / 3000, abs=0.01
    )
    assert model[1500] == pytest.approx(real[1500], rel=0.05)
    if deadline_s > 1:
        assert model[2970] == pytest.approx(real[2970], rel=0.1)


def test_a_full_group_waits_for_nobody_and_a_lone_picture_neither() -> None:
    spec = PodSpec(1, ((0.010, 0.012),), way_s=0.002, pause_s=0.001)
    # The first goes alone; the next two together, begun when the first is done, and the last by itself.
    took = answered(simulate(spec, [0.0, 0.001, 0.002, 0.003]))
    # It is sent when the worker is expected to be free, less its way: at 25 ms.
    done = [0.001 + 0.001 + 0.010, 0.012 + 0.001 + 0.012, 0.025 + 0.001 + 0.001 + 0.010]
    assert took == pytest.approx([done[0] + 0.001, done[1], done[1] - 0.001, done[2] + 0.001 - 0.003])


def test_workers_share_too_few_cores() -> None:
    due = [0.0, 0.0]
    assert simulate(PodSpec(2, ((0.010,),), cores=2), due) == pytest.approx([0.010, 0.010])
    assert simulate(PodSpec(2, ((0.010,),), cores=1), due) == pytest.approx([0.020, 0.020])
    # 5 ms after the first the second begins: both are half as fast until the first is done.
    assert simulate(PodSpec(2, ((0.010,),), cores=1), [0.0, 0.005]) == pytest.approx([0.015, 0.015])


def test_a_worker_alone_takes_the_cores_that_are_lent_to_it() -> None:
    spec = PodSpec(2, ((0.006,), (0.010,)), cores=2, worker_cores=((2.0,), (1.0,)))
    assert simulate(spec, [0.0]) == pytest.approx([0.006])
    # Three threads on two cores, until the first has done its 6 ms at 2/3 of the speed.
    assert simulate(spec, [0.0, 0.0]) == pytest.approx([0.009, 0.013])


def test_pictures_that_come_together_wait_for_the_web_services_one_thread() -> None:
    spec = PodSpec(8, ((0.010,),), arrival_s=0.001, answer_s=0.002)
    assert simulate(spec, [0.0, 0.0, 0.0]) == pytest.approx([0.013, 0.015, 0.017])
    beside = replace(spec, cores=2, beside=1.0)  # and TorchServe takes a second core meanwhile
    assert simulate(beside, [0.0]) == pytest.approx([0.013])
    assert simulate(replace(beside, cores=1), [0.0]) == pytest.approx([0.016])


def test_answer_of_a_group_takes_the_web_service_a_part_for_the_group() -> None:
    spec = PodSpec(1, ((0.010, 0.010),), arrival_s=0.001, answer_s=0.002, answer_group_s=0.004)
    assert simulate(spec, [0.0]) == pytest.approx([0.017])


def test_a_worker_takes_more_cores_with_a_larger_group() -> None:
    spec = PodSpec(1, ((0.010, 0.010),), cores=1, worker_cores=((1.0, 2.0),))
    first, second, _ = answered(simulate(spec, [0.0, 0.001, 0.001]))
    assert first == pytest.approx(0.010)
    assert second == pytest.approx(0.009 + 0.020)


def test_a_machine_is_slower_for_some_seconds() -> None:
    spec = PodSpec(1, ((0.010,),), pace=(1.0, 2.0))
    took = answered(simulate(spec, [PACE_S / 10 * (number + 0.1) for number in range(30)]))
    by_window = [{round(seconds, 6) for seconds in took[at : at + 10]} for at in (0, 10, 20)]
    assert sorted(map(len, by_window)) == [1, 1, 1]
    assert by_window[0] == by_window[2] != by_window[1]
    assert set.union(*by_window) == {0.01, 0.02}


def test_a_recorded_pace_begins_with_its_first_moment() -> None:
    spec = PodSpec(
        1, ((0.010,),), arrival_s=0.001, answer_s=0.001, way_s=0.002, pause_s=0.002, pace=(2.0, 1.0, 1.5), pace_from=0
    )
    # All that the pod does takes as much longer.
    assert simulate(spec, [0.1, PACE_S + 0.1, 2 * PACE_S + 0.1]) == pytest.approx([0.032, 0.016, 0.024])


def test_web_service_is_not_delayed_by_workers_and_they_have_what_it_leaves() -> None:
    spec = PodSpec(1, ((0.010,),), cores=2, worker_cores=((2.0,),), arrival_s=0.002)
    # For 2 ms the worker has one core of two: the second picture comes while it computes the first.
    assert simulate(spec, [0.0, 0.005]) == pytest.approx([0.013, 0.018])
    # With a core for what works beside the web service nothing is left.
    assert simulate(replace(spec, beside=1.0), [0.0, 0.005]) == pytest.approx([0.014, 0.019])


def test_web_service_wakes_up_for_a_picture_that_comes_while_it_has_nothing_to_do() -> None:
    spec = PodSpec(8, ((0.010,),), arrival_s=0.001, wake_s=0.003)
    assert simulate(spec, [0.0, 0.002, 0.010]) == pytest.approx([0.014, 0.013, 0.014])


def test_pause_before_a_group_is_longer_for_each_further_picture() -> None:
    spec = PodSpec(1, ((0.010, 0.010),), pause_s=0.001, pause_picture_s=0.002)
    first, second, _ = answered(simulate(spec, [0.0, 0.001, 0.001]))
    assert (first, second) == pytest.approx((0.011, 0.010 + 0.003 + 0.010))


def test_what_is_besides_is_drawn_for_each_answer_and_takes_no_time_of_a_worker() -> None:
    spec = PodSpec(1, ((0.010,),), besides_s=(0.0, 0.5))
    took = answered(simulate(spec, [0.02 * number for number in range(200)]))
    assert {round(seconds, 6) for seconds in took} == {0.01, 0.51}


def test_more_than_may_be_in_flight_are_refused() -> None:
    spec = PodSpec(1, ((1.0,),), max_in_flight=2)
    assert simulate(spec, [0.0, 0.1, 0.2, 1.5]) == pytest.approx([1.0, 1.9, None, 1.5])


def test_what_would_be_late_is_refused_at_once_and_takes_no_time_of_others() -> None:
    spec = PodSpec(1, ((1.0,),), deadline_s=2.5)
    assert simulate(spec, [0.0, 0.1, 0.2, 0.3, 2.0]) == pytest.approx([1.0, 1.9, None, None, 1.0])


def test_workers_come_and_go() -> None:
    due = [0.0, 0.0, 0.0, 5.0, 5.0]
    took: list[float | None] = [None] * 5
    pod = Pod(PodSpec(1, ((1.0,),)), due, took)
    for number in range(3):
        pod.arrive(number)
    pod.scale(2, start_s=0.5)
    pod.advance(4.0)
    assert took[:3] == pytest.approx([1.0, 1.5, 2.0])
    assert pod.ready == 2
    pod.scale(1, start_s=0.5)
    for number in (3, 4):
        pod.arrive(number)
    pod.advance(math.inf)
    assert took[3:] == pytest.approx([1.0, 2.0])


@pytest.mark.parametrize("name", ["poisson", "gamma-4"])
def test_more_workers_never_answer_fewer_in_time(name: str) -> None:
    due = arrival_process(name).times(3000, 100.0, seed=4)
    seconds = tuple(0.002 + 0.010 * pictures for pictures in range(1, 9))
    shares = [
        sum(took is not None and took <= 0.1 for took in simulate(PodSpec(workers, (seconds,), ((0.8, 1.2),)), due))
        for workers in (1, 2, 3, 5)
    ]
    assert shares == sorted(shares)


def test_equal_seeds_repeat_and_others_do_not() -> None:
    due = list(accumulate(SOURCE.expovariate(50) for _ in range(500)))
    spec = PodSpec(1, ((0.010, 0.015),), noise=((0.5, 1.0, 1.5),))
    assert simulate(spec, due, seed=1) == simulate(spec, due, seed=1) != simulate(spec, due, seed=2)
