"""The simulated pod says of its pictures what the service does, and clients wait for their answers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from marserve.plan.arrivals import arrival_process
from marserve.plan.observed import observe, observe_clients
from marserve.plan.pod import simulate
from marserve.plan.pod_spec import PodSpec
from tests.unit.plan.measurements import POD


def test_parts_of_an_answer_are_the_whole_of_it() -> None:
    spec = PodSpec(1, ((0.010, 0.012),), arrival_s=0.001, answer_s=0.002, way_s=0.004, pause_s=0.001)
    pod, took = observe(spec, [0.0, 0.005, 0.006])
    alone, both = pod.groups
    assert (alone.numbers, both.numbers) == ([0], [1, 2])
    assert (alone.company, alone.worker_s, alone.group_s) == pytest.approx((1, 0.010, 0.015))
    assert pod.queue_s[0] == 0.0
    assert took[0] == pytest.approx(0.001 + 0.015 + 0.002)
    # It waits for the other; a full group waits in TorchServe.
    assert (pod.queue_s[1], pod.queue_s[2]) == pytest.approx((0.001, 0.0))
    assert both.worker_s == pytest.approx(0.012)


def test_watching_a_pod_changes_nothing() -> None:
    due = arrival_process("gamma-4").times(500, 100.0, 1)
    assert observe(POD, due, seed=3)[1] == simulate(POD, due, seed=3)


def test_each_client_has_one_picture_out() -> None:
    pod = observe_clients(replace(POD, workers=2), 5, 5.0)
    open_at_once = sorted(
        (at, step)
        for due, seconds in zip(pod.due, pod.took, strict=True)
        for at, step in ((due, 1), (due + (9.0 if seconds is None else seconds), -1))
    )
    most = now = 0
    for _, step in open_at_once:
        now += step
        most = max(most, now)
    assert most == 5
    assert sum(seconds is None for seconds in pod.took) <= 5
    assert len(pod.due) > 100
