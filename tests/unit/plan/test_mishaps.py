"""What a lost zone and a crowd do."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from marserve.plan.arrivals import arrival_process, variation
from marserve.plan.hpa import HpaRules
from marserve.plan.mishaps import flash_crowd, lose_zone, warped
from marserve.plan.planning import beside_a_lost_zone
from tests.unit.plan.settings import SETTING

pytestmark = pytest.mark.usefixtures("few_requests")


def test_rates_that_change_keep_the_pattern() -> None:
    due = warped(arrival_process("gamma-2"), [(10.0, 100.0), (5.0, 400.0), (10.0, 100.0)], seed=1)
    assert sum(at < 10 for at in due) == pytest.approx(1000, rel=0.15)
    assert sum(10 <= at < 15 for at in due) == pytest.approx(2000, rel=0.15)
    assert len(due) == 4000
    assert due[-1] == pytest.approx(25.0)
    assert all(earlier <= later for earlier, later in pairwise(due))
    assert variation([at for at in due if 10 <= at < 15]) == pytest.approx(2.0, rel=0.15)


def test_with_a_zone_to_spare_only_what_was_on_its_way_is_lost() -> None:
    spared = lose_zone(SETTING, beside_a_lost_zone(4, 3), 300.0, 3)
    assert spared.short == spared.after == 1.0
    assert 0 < spared.unanswered < 0.02
    tight = lose_zone(SETTING, 4, 390.0, 3)
    assert tight.short < 0.5
    by_chance = lose_zone(replace(SETTING, balance="random"), 6, 300.0, 3)
    assert by_chance.noticing == pytest.approx(2 / 3, abs=0.1)


def test_a_crowd_is_met_by_more_pods_after_a_while() -> None:
    crowd = flash_crowd(SETTING, 2, 120.0, 3.0, HpaRules(2, 12, target=3.0))
    assert crowd.fixed < 0.05 < crowd.autoscaled < 1.0
    assert crowd.settled_s is not None
    assert 15 < crowd.settled_s < 120
    assert (crowd.cell, crowd.most > 2) == (1, True) or crowd.cell == 2
