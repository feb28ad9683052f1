"""What is simulated is what was measured."""

from __future__ import annotations

from itertools import pairwise
from math import inf

import pytest

from marserve.plan.arrivals import arrival_process
from marserve.plan.calibration import MAX_IN_FLIGHT, REQUEST_DEADLINE_S, saturated_per_s, simulate_pod, spec_of
from marserve.web.settings import WebSettings
from tests.unit.plan.measurements import BATCH, GROUP_S, PICTURE_S, measurement, samples


def test_lone_pictures_take_what_was_measured_and_full_groups_what_the_capacity_says() -> None:
    measured = measurement()
    spec = spec_of(measured, with_generator=True)
    (seconds,) = spec.seconds
    assert seconds[0] == pytest.approx(GROUP_S + PICTURE_S)
    assert saturated_per_s(spec) == pytest.approx(measured.capacity.per_s, rel=0.005)
    # And those between are on a line.
    steps = [later - earlier for earlier, later in pairwise(seconds)]
    assert steps == pytest.approx([steps[0]] * (BATCH - 1))


def test_sizes_that_did_not_occur_are_on_the_line_through_the_last_ones() -> None:
    service = [{"busy": 1, "pictures": size, **samples(0.01 * size)} for size in (1, 2, 4)]
    capacity = dict(measurement().capacity) | {"per_s": 8 / (0.08 + 0.002)}
    alone = measurement(machine=None).machine  # nothing else takes cores
    (seconds,) = spec_of(measurement(service=service, capacity=capacity, machine=alone)).seconds
    assert seconds == pytest.approx([0.01 * size for size in range(1, BATCH + 1)], rel=0.02)


def test_few_groups_that_met_something_else_do_not_make_the_rule() -> None:
    service = [{"busy": 1, "pictures": 1, **samples(0.01, *[0.9, 1.0, 1.1] * 5, 9.0)}]
    spec = spec_of(measurement(service=service))
    assert spec.seconds[0][0] == pytest.approx(0.01)
    assert max(spec.noise[0]) == pytest.approx(1.1)


def test_pod_of_one_picture_at_a_time_has_the_measured_capacity() -> None:
    model = dict(measurement().model) | {"batch_size": 1}
    spec = spec_of(measurement(model=model, capacity=dict(measurement().capacity) | {"per_s": 80.0}))
    assert saturated_per_s(spec) == pytest.approx(80.0, rel=0.02)


def test_noise_is_that_of_the_size_and_of_all_sizes_where_few_were_seen() -> None:
    service = [
        {"busy": 1, "pictures": 1, **samples(0.01, 0.5, 1.5)},
        {"busy": 1, "pictures": 8, **samples(0.08, 1.0), "count": 2},
    ]
    noise = spec_of(measurement(service=service)).noise
    assert sorted(set(noise[0])) == pytest.approx([0.5, 1.5])
    assert len(set(noise[7])) == 3
    assert all(sum(factors) / len(factors) == pytest.approx(1.0) for factors in noise)


def test_service_elsewhere_has_its_own_cores_and_the_time_of_its_hop() -> None:
    web = {**samples(0.0015), "generator_cpu_s_per_picture": 0.0002}
    web |= dict.fromkeys(("cpu_s_per_picture", "torchserve_cpu_s_per_picture", "worker_cpu_s_per_picture"))
    spec = spec_of(measurement(machine=None, web=web))
    assert spec.cores == inf
    assert spec.arrival_s + spec.answer_s == pytest.approx(0.0015)


def test_lone_picture_takes_all_that_was_measured_of_its_way() -> None:
    due = [float(number) for number in range(30)]
    took = simulate_pod(measurement(), due)
    expected = GROUP_S + PICTURE_S + 0.003 + 0.0015
    assert sum(filter(None, took)) / len(took) == pytest.approx(expected, rel=0.03)


def test_generator_on_the_same_cores_makes_a_loaded_pod_slower() -> None:
    due = arrival_process("poisson").times(2400, 120.0, 1)
    web = dict(measurement().web) | {"generator_cpu_s_per_picture": 0.004}
    without, with_it = (
        sum(filter(None, simulate_pod(measurement(web=web), due, with_generator=flag))) for flag in (False, True)
    )
    assert with_it > without


def test_more_workers_wait_less() -> None:
    due = arrival_process("gamma-4").times(2000, 100.0, 1)
    one, two = (sum(filter(None, simulate_pod(measurement(), due, workers=workers))) for workers in (1, 2))
    assert two < one


def test_limits_are_those_of_the_web_service() -> None:
    assert spec_of(measurement()).max_in_flight == MAX_IN_FLIGHT == WebSettings().max_in_flight
    assert spec_of(measurement()).deadline_s == REQUEST_DEADLINE_S == WebSettings().request_deadline_s
