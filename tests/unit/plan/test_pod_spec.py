"""A pod's capacity is what its simulation answers, and all of it can be slower."""

from __future__ import annotations

from dataclasses import replace

import pytest

from marserve.plan.observed import observe_clients
from marserve.plan.pod import simulate
from marserve.plan.pod_spec import PodSpec
from tests.unit.plan.measurements import POD


@pytest.mark.parametrize(
    "spec",
    [
        PodSpec(3, ((0.010, 0.015),)),
        POD,
        replace(POD, cores=1),
        replace(POD, workers=2, worker_cores=((1.7,),)),
        replace(POD, workers=3, cores=4, answer_group_s=0.003),
        # The web service alone is too slow.
        replace(POD, seconds=((0.001, 0.002),), arrival_s=0.004),
    ],
)
def test_capacity_is_what_clients_get_that_always_wait(spec: PodSpec) -> None:
    groups = observe_clients(spec, 32 * spec.workers, 20.0).groups
    per_s = sum(len(group.numbers) for group in groups if group.answered_at > 2.0) / 18.0
    assert spec.capacity_per_s == pytest.approx(per_s, rel=0.03)


def test_pod_of_a_slower_machine_takes_so_many_times_as_long_for_everything() -> None:
    due = [0.3 * number for number in range(40)]
    quiet = replace(POD, noise=((1.0,),), besides_s=(0.0,))
    usual, slowed = (simulate(spec, due) for spec in (quiet, quiet.slowed(1.5)))
    assert slowed == pytest.approx([1.5 * (seconds or 0.0) for seconds in usual])
    assert quiet.slowed(1.5).capacity_per_s == pytest.approx(quiet.capacity_per_s / 1.5)
