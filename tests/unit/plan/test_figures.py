"""Loads say what a pod takes, whichever sizes its groups have, and whether it was equally fast all the time."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from statistics import fmean

import pytest

from marserve.plan.figures import evaluate
from marserve.plan.groups import groups_of
from marserve.plan.service import timings
from marserve.plan.stages import Stage
from tests.unit.plan.measurements import (
    GENERATOR_S,
    POD,
    TORCHSERVE_S,
    WEB_S,
    closed_stage,
    conditions,
    measured,
    open_stage,
    stages,
)


def test_processor_time_is_told_apart_for_pictures_and_for_groups() -> None:
    def dearer(stage: Stage) -> Stage:
        groups = len({kept.split(", ", 1)[1] for kept in stage.done.kept if kept})
        return replace(stage, cpu_s={**stage.cpu_s, "web": stage.cpu_s["web"] + 0.003 * groups})

    found = evaluate(conditions(), [dearer(stage) for stage in stages(POD)]).processors
    assert found is not None
    assert found.web.picture_s == pytest.approx(WEB_S, rel=0.1)
    assert found.web.group_s == pytest.approx(0.003, rel=0.1)
    assert found.torchserve.of(8) == pytest.approx(8 * TORCHSERVE_S, rel=0.05)
    assert found.generator.of(8) == pytest.approx(8 * GENERATOR_S, rel=0.05)


def test_time_that_is_only_for_groups_or_only_for_pictures_is_never_negative() -> None:
    def only_for_groups(stage: Stage) -> Stage:
        groups = len({kept.split(", ", 1)[1] for kept in stage.done.kept if kept})
        return replace(stage, cpu_s=dict.fromkeys(stage.cpu_s, 0.003 * groups - 0.0001 * stage.done.status.count(200)))

    found = evaluate(conditions(), [only_for_groups(stage) for stage in stages(POD)]).processors
    assert found is not None
    assert found.web.picture_s == 0.0 < found.web.group_s


def test_service_elsewhere_has_no_processor_times() -> None:
    assert evaluate(conditions(), [replace(stage, cpu_s={}) for stage in stages(POD)]).processors is None


def test_parts_of_a_load_are_one_run() -> None:
    found = measured()
    assert [(run.arrivals, run.load) for run in found.runs] == [("poisson", 0.5), ("gamma-4", 0.6), ("poisson", 0.8)]
    for run in found.runs:
        assert len(run.seeds) == 2
        assert run.requests == 2000
        # Groups that took equally long to the microsecond are one: of simulated ones there are some.
        assert sum(each.count * each.pictures for each in run.groups) == pytest.approx(2000, rel=0.05)
    assert len(found.capacity.rounds_per_s) == 2


def test_overhead_is_that_of_pictures_that_waited_for_nothing() -> None:
    found = measured().overhead
    assert found.hop_s == pytest.approx(POD.way_s + POD.pause_s, rel=0.1)
    assert found.web_s == pytest.approx(WEB_S + fmean(POD.besides_s), rel=0.1)
    assert found.between_groups_s == pytest.approx(POD.pause_s, rel=0.15)
    assert found.between_picture_s < 0.02 * POD.pause_s


def test_pauses_and_ways_are_longer_for_larger_groups() -> None:
    found = measured(replace(POD, pause_picture_s=0.0002, way_picture_s=0.0003)).overhead
    assert found.between_groups_s == pytest.approx(POD.pause_s, rel=0.15)
    assert found.between_picture_s == pytest.approx(0.0002, rel=0.25)
    assert found.hop_picture_s == pytest.approx(0.0002 + 0.0003, rel=0.25)


def test_pictures_that_all_went_alone_say_nothing_of_larger_groups() -> None:
    alone = open_stage(POD, "poisson", 0.05, 5.0, seed=3)
    crowd = closed_stage(POD, 1)
    found = evaluate(conditions(), [crowd, alone, crowd]).overhead
    assert found.hop_s == pytest.approx(POD.way_s + POD.pause_s, rel=0.1)
    assert found.hop_picture_s == found.between_picture_s == 0.0
    # Of groups of eight, which alone waited.
    assert found.between_groups_s == pytest.approx(POD.pause_s, rel=0.15)


def test_groups_that_were_computed_together_do_not_shorten_the_pauses() -> None:
    """A worker says the seconds of both of each, and answers both at once."""

    def partly_together(stage: Stage) -> Stage:
        answered, kept = list(stage.done.answered), list(stage.done.kept)
        pictures: dict[tuple[float, float, int], list[int]] = {}
        for one in timings(stage.done):
            pictures.setdefault(one.group, []).append(one.number)
        groups = groups_of(stage.done)
        for before, one in list(pairwise(groups))[::10]:
            if one.group_s < one.worker_s + before.worker_s / 2:
                continue  # it was sent when the one before was done
            both_s = before.worker_s + one.worker_s
            later_s = answered[one.number] - answered[before.number] - 0.001
            for group, more_s in ((before, later_s), (one, 0.0)):
                for number in pictures[group.group]:
                    answered[number] += more_s
                    kept[number] = (
                        f"queue;dur={group.queue_s * 1e3:.3f}, group;dur={(group.group_s + more_s) * 1e3:.3f};"
                        f"desc={group.pictures}, company;desc={group.company}, worker;dur={both_s * 1e3:.3f}"
                    )
        assert kept != list(stage.done.kept)
        return replace(stage, done=replace(stage.done, answered=tuple(answered), kept=tuple(kept)))

    found = evaluate(conditions(), [partly_together(stage) for stage in stages(POD)]).overhead
    assert found.between_groups_s == pytest.approx(POD.pause_s, rel=0.15)
    assert found.between_picture_s < 0.02 * POD.pause_s


@pytest.mark.parametrize(("pace", "least", "most"), [((1.0,), 0.0, 0.1), ((0.9, 1.1, 1.0), 0.12, 0.3)])
def test_machine_that_changes_its_pace_is_told_from_chance(pace: tuple[float, ...], least: float, most: float) -> None:
    found = evaluate(conditions(), stages(replace(POD, pace=pace))).pace
    assert fmean(found) == pytest.approx(1.0, abs=0.01)
    assert least <= max(found) - min(found) <= most
