"""Enough pods, and no more."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from marserve.plan.arrivals import arrival_process
from marserve.plan.planning import Goal, beside_a_lost_zone
from tests.unit.plan.settings import SETTING

pytestmark = pytest.mark.usefixtures("few_requests")


def test_the_least_pods_hold_the_goal_and_one_fewer_does_not() -> None:
    pods = SETTING.pods_for(330.0)
    assert pods is not None
    assert SETTING.holds(pods, 330.0)
    assert not SETTING.holds(pods - 1, 330.0)


def test_many_pods_are_a_cell_multiplied() -> None:
    pods = SETTING.pods_for(10_000.0)
    assert pods is not None
    assert pods == math.ceil(10_000 / SETTING.held_per_pod())
    assert 10_000 / pods == pytest.approx(92, abs=8)


def test_bursts_and_chance_take_more_pods() -> None:
    calm = SETTING.pods_for(500.0)
    bursts = replace(SETTING, arrivals=arrival_process("gamma-4"), goal=Goal(0.03, 0.99)).pods_for(500.0)
    by_chance = replace(SETTING, balance="random", goal=Goal(0.03, 0.99)).pods_for(500.0)
    assert calm is not None
    assert bursts is not None
    assert by_chance is not None
    assert calm < min(bursts, by_chance)


def test_no_number_of_pods_makes_a_picture_faster() -> None:
    assert replace(SETTING, goal=Goal(0.005, 0.9)).pods_for(10.0) is None


@pytest.mark.parametrize(("pods", "zones", "with_spare"), [(1, 3, 2), (2, 3, 3), (4, 3, 6), (4, 2, 8), (16, 3, 24)])
def test_enough_are_left_when_a_zone_is_lost(pods: int, zones: int, with_spare: int) -> None:
    assert beside_a_lost_zone(pods, zones) == with_spare
    assert with_spare - math.ceil(with_spare / zones) >= pods > with_spare - 1 - math.ceil((with_spare - 1) / zones)
