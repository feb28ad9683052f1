"""Slow moments of a machine are found, though groups are larger in them, and are no part of what a size takes."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean

import pytest

from marserve.plan.figures import evaluate
from marserve.plan.pace import paces
from marserve.plan.pod_spec import PACE_S
from tests.unit.plan.measurements import POD, conditions, open_stage, stages

#: A second and a half in nine in which all takes half as long again.
SLOW = tuple(1.5 if 6 <= number < 9 else 1.0 for number in range(18))


def test_slow_moments_are_found_where_they_were() -> None:
    stage = open_stage(replace(POD, pace=SLOW, pace_from=0), "poisson", 0.6, 80.0, 3)
    found = {window: factor for (_, window), factor in paces([stage], 1).items()}
    slow = [factor for window, factor in found.items() if SLOW[window % len(SLOW)] > 1]
    usual = [factor for window, factor in found.items() if SLOW[window % len(SLOW)] == 1]
    # A group that is answered in one window may have begun in the one before.
    assert fmean(slow) / fmean(usual) == pytest.approx(1.5, rel=0.12)
    assert len(found) * PACE_S <= stage.done.seconds + 2 * PACE_S


def test_seconds_of_a_size_are_those_at_the_mean_pace() -> None:
    steady, changing = (evaluate(conditions(), stages(replace(POD, pace=pace))) for pace in ((1.0,), SLOW))
    full = [
        next(each for each in found.capacity.groups if each.pictures == POD.batch_size) for found in (steady, changing)
    ]
    assert full[1].mean_s / full[0].mean_s == pytest.approx(fmean(SLOW), rel=0.06)
    spread = [(each.samples_s[180] - each.samples_s[20]) / each.mean_s for each in full]
    assert spread[1] < 1.4 * spread[0]


def test_load_without_answers_has_no_pace() -> None:
    assert paces([], 1) == {}
