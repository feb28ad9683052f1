"""Days are put together right, from a course and from what a cell does at each load."""

from __future__ import annotations

from statistics import fmean

import pytest

from marserve.plan.day import AtLoad, Demand, by_load, day, day_curve
from marserve.plan.hpa import HpaRules
from tests.unit.plan.settings import POISSON, SETTING

pytestmark = pytest.mark.usefixtures("few_requests")


@pytest.mark.parametrize("peak", [1.0, 1.5, 2.0, 4.0])
def test_a_days_busiest_hour_has_the_wanted_rate(peak: float) -> None:
    curve = day_curve(peak)
    assert max(curve) == pytest.approx(peak, rel=1e-3) == pytest.approx(curve[12])
    assert fmean(curve) == pytest.approx(1.0)
    demand = Demand(10.0, curve, POISSON)
    assert demand.at(12.5 * 3600) == pytest.approx(10 * peak, rel=1e-3) == pytest.approx(demand.peak_per_s)
    assert demand.at(13 * 3600) == pytest.approx(10 * (curve[12] + curve[13]) / 2)


def test_no_curve_has_its_busiest_hour_below_the_mean() -> None:
    with pytest.raises(ValueError, match="1 to 12 times"):
        day_curve(0.5)


def test_a_day_is_the_mean_of_its_loads() -> None:
    known = [AtLoad(0.0, {0.1: 1.0}, 0.0, 0.0), AtLoad(1.0, {0.1: 0.0}, 8.0, 0.0)]
    half = day(SETTING, Demand(100.0, (1.0,) * 24, POISSON), known, 2)
    assert (half.pod_hours, half.most) == (48.0, 2)
    assert half.shares[0.1] == pytest.approx(0.5)
    # By requests and not by time: nights hardly count.
    uneven = day(SETTING, Demand(100.0, (0.0,) * 12 + (2.0,) * 12, POISSON), known, 2)
    assert uneven.shares[0.1] == pytest.approx(0.0, abs=0.03)


def test_the_autoscaler_follows_a_day_for_fewer_pod_hours() -> None:
    known = by_load(SETTING, 4, [0.1])
    demand = Demand(170.0, day_curve(2.0), POISSON)
    fixed = day(SETTING, demand, known, 4)
    scaled = day(SETTING, demand, known, 4, HpaRules(1, 8, target=3.0))
    assert fixed.pod_hours == 96.0
    assert 24 < scaled.pod_hours < 90
    assert 3 <= scaled.most <= 8
    pods = [there for _, _, there in scaled.course]
    assert fmean(pods[:960]) < fmean(pods[2400:3360])
