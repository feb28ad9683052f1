"""What the web service spends is told apart for pictures, for groups and for waking up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from marserve.plan.costs import ASLEEP_S, processors
from marserve.plan.groups import groups_of
from marserve.plan.load import OpenLoad
from marserve.plan.stages import Stage


def stage(pictures: int, group: int, gap_s: float) -> Stage:
    """Pictures that come ``gap_s`` after each other, each ``group`` of them answered together long after the last."""
    due = tuple(gap_s * number for number in range(pictures))
    answered = tuple(due[-1] + 1 + number // group for number in range(pictures))
    says = tuple(
        f"queue;dur=1.000, group;dur={number // group}.000;desc={group}, company;desc=1, worker;dur=5.000"
        for number in range(pictures)
    )
    return Stage(OpenLoad(due, due, answered, (200,) * pictures, {}, 0.2, 1, says), {}, 0, "poisson", 0.5, 1.0, 1)


@pytest.mark.parametrize("wake_s", [0.0, 0.004])
def test_each_has_its_part(wake_s: float) -> None:
    stages = []
    for pictures, group, gap_s in ((100, 1, 0.1), (80, 8, 0.1), (160, 8, ASLEEP_S / 4), (90, 3, ASLEEP_S / 4)):
        one = stage(pictures, group, gap_s)
        wakes = pictures if gap_s > ASLEEP_S else 1
        groups = len(groups_of(one.done))
        spent = 0.001 * pictures + 0.002 * groups
        stages.append(replace(one, cpu_s={"web": spent + wake_s * wakes, "torchserve": spent, "workers": 10 * spent}))
    found = processors(stages)
    assert found is not None
    assert found.web.picture_s == pytest.approx(0.001, rel=0.05)
    assert found.web.group_s == pytest.approx(0.002, rel=0.05)
    assert found.web.wake_s == pytest.approx(wake_s, abs=0.0001)
    assert found.worker.group_s == pytest.approx(0.020, rel=0.05)
    assert (found.torchserve.wake_s, found.generator.group_s >= 0) == (0.0, True)
