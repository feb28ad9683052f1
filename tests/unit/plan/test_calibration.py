"""What is simulated is what was measured: the measured pods are simulated ones, whose figures are known."""

from __future__ import annotations

import statistics
from dataclasses import replace
from math import inf

import pytest

from marserve.plan.arrivals import arrival_process
from marserve.plan.calibration import MAX_IN_FLIGHT, REQUEST_DEADLINE_S, spec_of
from marserve.plan.measurement import Measurement
from marserve.plan.observed import observe_clients
from marserve.plan.pod import simulate
from marserve.plan.pod_spec import PACE_S, PodSpec
from marserve.web.settings import WebSettings
from tests.unit.plan.measurements import GENERATOR_S, POD, TORCHSERVE_S, WEB_S, measured, measurement

#: Two workers that take each other's cores.
CROWDED = replace(POD, workers=2, seconds=(POD.seconds[0], tuple(1.1 * each for each in POD.seconds[0])))
#: A picture alone is no part of a group, and groups wait long for each other.
UNEVEN = replace(POD, seconds=((0.013, *POD.seconds[0][1:]),), pause_s=0.006)
PODS = {"even": POD, "uneven": UNEVEN, "crowded": CROWDED}


def answered(spec: PodSpec, arrivals: str, per_s: float, seed: int, requests: int = 4000) -> list[float]:
    took = simulate(spec, arrival_process(arrivals).times(requests, per_s, seed), seed=seed)
    return sorted(inf if seconds is None else seconds for seconds in took)


def p50_and_p99(spec: PodSpec, arrivals: str, per_s: float) -> tuple[float, float]:
    """Each the median of several runs: the slowest of one are chance."""
    runs = [answered(spec, arrivals, per_s, seed) for seed in range(5, 10)]
    return statistics.median(run[2000] for run in runs), statistics.median(run[3960] for run in runs)


@pytest.mark.parametrize("name", PODS)
def test_pod_that_was_measured_is_found_again(name: str) -> None:
    real = PODS[name]
    found = spec_of(measured(real), with_generator=True)
    busy = real.workers - 1
    for size in (1, 2, real.batch_size):
        assert found.seconds[busy][size - 1] == pytest.approx(real.seconds[busy][size - 1], rel=0.04)
    assert found.pause_s == pytest.approx(real.pause_s, abs=0.0005)
    groups = [observe_clients(spec, 32 * real.workers, 20.0).groups for spec in (real, found)]
    rates = [sum(len(group.numbers) for group in pods) for pods in groups]
    assert rates[1] == pytest.approx(rates[0], rel=0.02)


@pytest.mark.parametrize("name", PODS)
@pytest.mark.parametrize(("arrivals", "load"), [("poisson", 0.5), ("poisson", 0.85), ("gamma-4", 0.7)])
def test_it_answers_other_arrivals_as_the_pod_does(name: str, arrivals: str, load: float) -> None:
    real = PODS[name]
    measured_pod = measured(real)
    found = spec_of(measured_pod, with_generator=True)
    per_s = load * measured_pod.capacity.per_s
    theirs, ours = (p50_and_p99(spec, arrivals, per_s) for spec in (real, found))
    assert ours[0] == pytest.approx(theirs[0], rel=0.08)
    assert ours[1] == pytest.approx(theirs[1], rel=0.2)


def test_sizes_that_hardly_occurred_are_on_the_line_through_the_others() -> None:
    def without(found: Measurement, size: int) -> Measurement:
        runs = [
            dict(run) | {"groups": [dict(each) for each in run.groups if each.pictures != size]} for run in found.runs
        ]
        return measurement(runs=runs)

    (seconds,) = spec_of(without(measured(), 4)).seconds
    assert seconds[3] == pytest.approx(POD.seconds[0][3], rel=0.02)


def test_noise_is_that_of_the_size() -> None:
    noise = spec_of(measured()).noise
    assert len(noise) == POD.batch_size
    for factors in (noise[0], noise[-1]):
        assert statistics.fmean(factors) == pytest.approx(1.0)
        # What the web service takes of a core now and then is in it.
        assert statistics.pstdev(factors) == pytest.approx(0.11, abs=0.03)


def test_pace_of_the_machine_is_that_of_the_measurement() -> None:
    slow_and_fast = measurement(pace=(0.8, 1.2))
    due = [PACE_S / 10 * (number + 0.1) for number in range(40)]
    spec = replace(spec_of(slow_and_fast), noise=((1.0,),), besides_s=(0.0,))
    took = simulate(spec, due)
    # For some time the one, and then the other.
    assert len({round(seconds or 0.0, 6) for seconds in took[:10]}) == 1
    assert statistics.fmean(filter(None, took[:10])) != pytest.approx(
        statistics.fmean(filter(None, took[10:20])), rel=0.1
    )
    assert len(measured().pace) > 10
    assert max(measured().pace) < 1.05  # a pod that is equally fast all the time


def test_service_elsewhere_has_cores_of_its_own_and_its_overhead() -> None:
    found = measurement(machine=None, processors=None)
    spec = spec_of(found)
    assert spec.cores == inf
    assert spec.beside == 0.0
    took = simulate(spec, [float(number) for number in range(40)])
    lone_s = spec.seconds[0][0] + found.overhead.mean_s
    assert statistics.fmean(filter(None, took)) == pytest.approx(lone_s, rel=0.05)


def test_lone_picture_takes_all_that_was_measured_of_its_way() -> None:
    due = [float(number) for number in range(60)]
    theirs, ours = (statistics.fmean(filter(None, simulate(spec, due))) for spec in (POD, spec_of(measured())))
    assert ours == pytest.approx(theirs, rel=0.03)


def test_generator_takes_its_share_of_the_cores_only_where_it_is_wanted() -> None:
    with_it, without = spec_of(measured(), with_generator=True), spec_of(measured())
    assert with_it.beside == pytest.approx((TORCHSERVE_S + GENERATOR_S) / WEB_S, rel=0.01)
    assert without.beside == pytest.approx(TORCHSERVE_S / WEB_S, rel=0.01)
    assert without.capacity_per_s > with_it.capacity_per_s


def test_more_workers_wait_less() -> None:
    one, two = (sum(answered(spec_of(measured(), workers=count), "gamma-4", 100.0, 1, 2000)) for count in (1, 2))
    assert two < one


def test_limits_are_those_of_the_web_service() -> None:
    assert spec_of(measured()).max_in_flight == MAX_IN_FLIGHT == WebSettings().max_in_flight
    assert spec_of(measured()).deadline_s == REQUEST_DEADLINE_S == WebSettings().request_deadline_s
