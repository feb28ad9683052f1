"""The HorizontalPodAutoscaler's decisions, worked out by hand from Kubernetes' description of them."""

from __future__ import annotations

import pytest

from marserve.plan.hpa import Hpa, HpaRules

RULES = HpaRules(1, 20, target=8.0)


@pytest.mark.parametrize(
    ("pods", "in_flight", "pending", "wanted"),
    [
        (2, [8.0, 8.0], 0, 2),  # on its target
        (2, [8.7, 8.7], 0, 2),  # 8.75 % above it: within the tolerance of 10 %
        (2, [9.0, 9.0], 0, 3),  # 12.5 %: 2 * 1.125 = 2.25
        (3, [20.0, 10.0, 0.0], 0, 4),  # the mean counts: 10 of 8
        (4, [7.3] * 4, 0, 4),  # 8.75 % below
        (4, [4.0] * 4, 0, 2),
        (3, [16.0], 2, 3),  # two are starting and count as idle: 16 / 3 = 5.3 is less than the target, so none more
        (3, [40.0], 2, 5),  # 40 / 3 = 13.3: 1.67 * 3
        (3, [4.0], 2, 1),  # where fewer are wanted those that start do not count: half of one
        (2, [], 2, 2),  # nothing is known
        (1, [400.0], 0, 5),  # no more than four at once
        (6, [80.0] * 6, 0, 12),  # or twice as many
        (12, [80.0] * 12, 0, 20),  # or the maximum
        (1, [0.0], 0, 1),  # or the minimum
    ],
)
def test_one_decision(pods: int, in_flight: list[float], pending: int, wanted: int) -> None:
    assert (
        Hpa(HpaRules(1, 20, target=8.0, down_window_s=0.0, down_share=1.0)).decide(0.0, pods, in_flight, pending)
        == wanted
    )


def test_pods_go_only_when_five_minutes_wanted_no_more() -> None:
    hpa = Hpa(RULES)
    assert hpa.decide(0.0, 4, [8.0] * 4) == 4
    assert [hpa.decide(now, 4, [2.0] * 4) for now in (15.0, 150.0, 300.0)] == [4, 4, 4]
    # The recommendation of the beginning is out of the window: one pod is enough, half of them go in a minute.
    assert hpa.decide(301.0, 4, [2.0] * 4) == 2
    assert hpa.decide(316.0, 2, [2.0] * 2) == 2
    assert hpa.decide(362.0, 2, [2.0] * 2) == 1


def test_what_was_added_a_moment_ago_counts_against_the_most_that_may_be() -> None:
    hpa = Hpa(RULES)
    assert hpa.decide(0.0, 2, [100.0] * 2) == 6
    assert hpa.decide(10.0, 6, [100.0] * 6) == 6
    assert hpa.decide(15.0, 6, [100.0] * 6) == 12


def test_bounds_are_numbers_of_pods() -> None:
    with pytest.raises(ValueError, match="give 1 or more"):
        HpaRules(3, 2)
