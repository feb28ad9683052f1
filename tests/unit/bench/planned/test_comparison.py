"""A prediction holds or not by all its figures, and its error is told from that of the machine and of chance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench.planned.comparison import Comparison, Error, Waits, compare_all
from marserve.plan.measurement import Measurement
from marserve.plan.pod_spec import PodSpec
from tests.unit.bench.planned.sessions import LOADS, session
from tests.unit.plan.measurements import POD

Compared = tuple[Measurement, PodSpec, list[Comparison]]


@pytest.fixture(scope="module")
def steady() -> Compared:
    """Of a pod that stays as it was measured; some seconds of simulation."""
    return compare_all(session())


def test_pod_that_stays_as_it_was_measured_is_predicted(steady: Compared) -> None:
    measurement, spec, compared = steady
    assert [(each.arrivals, each.load) for each in compared] == list(LOADS)
    for each in compared:
        assert each.error.holds
        assert each.least.p50_off <= each.error.p50_off <= each.most.p50_off
        assert each.requests == 4000
        assert each.predicted_p99_ms[0] <= each.predicted.p99_ms <= each.predicted_p99_ms[1]
        assert each.share == pytest.approx(each.load)
        # Five percent of a machine are more of a wait.
        assert each.slower.p50_off > 0.05
        assert each.slower.points <= 0
        assert each.halves != each.error
    assert spec.capacity_per_s == pytest.approx(measurement.capacity.per_s, rel=0.03)


def test_machine_that_has_become_slower_is_told_from_a_model_that_is_wrong() -> None:
    _, _, compared = compare_all(session(loaded=replace(POD, pace=(1.15,))))
    assert not all(each.error.holds for each in compared)
    for each in compared:
        assert each.error.p50_off < each.error_at_pace.p50_off
        assert each.error_at_pace.holds
        assert [half.worker_ratio for half in each.spent] == pytest.approx([1.15, 1.15], rel=0.03)


@pytest.mark.parametrize(
    ("real", "predicted", "holds"),
    [
        (Waits(10.0, 50.0, {100: 0.95, 250: 1.0}), Waits(11.0, 45.0, {100: 0.97, 250: 1.0}), True),
        (Waits(10.0, 50.0, {100: 0.95, 250: 1.0}), Waits(12.0, 50.0, {100: 0.95, 250: 1.0}), False),
        (Waits(10.0, 50.0, {100: 0.95, 250: 1.0}), Waits(10.0, 30.0, {100: 0.95, 250: 1.0}), False),
        (Waits(10.0, 50.0, {100: 0.90, 250: 1.0}), Waits(10.0, 50.0, {100: 0.96, 250: 1.0}), False),
    ],
)
def test_each_figure_must_be_near_enough(real: Waits, predicted: Waits, holds: bool) -> None:
    assert Error.of(real, predicted).holds is holds


@pytest.mark.parametrize(
    ("error", "least", "most", "certain"),
    [
        (Error(0.1, 0.0, 0.0), Error(0.05, -0.1, -1.0), Error(0.14, 0.1, 1.0), True),
        (Error(0.1, 0.0, 0.0), Error(0.05, -0.1, -1.0), Error(0.16, 0.1, 1.0), False),
        (Error(0.2, 0.0, 0.0), Error(0.16, -0.1, -1.0), Error(0.25, 0.1, 1.0), True),
        (Error(0.2, 0.0, 0.0), Error(0.14, -0.1, -1.0), Error(0.25, 0.1, 1.0), False),
        (Error(0.0, 0.0, -7.0), Error(0.0, 0.0, -9.0), Error(0.0, 0.0, -5.5), True),
    ],
)
def test_verdict_is_certain_where_chance_could_not_have_made_another(
    steady: Compared, error: Error, least: Error, most: Error, certain: bool
) -> None:
    _, _, (compared, *_) = steady
    assert replace(compared, error=error, least=least, most=most).is_certain is certain


def test_request_without_an_answer_is_in_time_for_nothing() -> None:
    waits = Waits.of(np.array([10.0, 20.0, 30.0, np.inf]))
    assert (waits.p50_ms, waits.within[100]) == (20.0, 0.75)
