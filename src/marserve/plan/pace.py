"""By how much a machine is slower and faster from moment to moment, by its workers' clocks.

A virtual machine's cores are not always as fast: for a second or two all takes half as long again, which no counter
of the machine shows. Such moments make the longest waits.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from math import sqrt
from statistics import fmean
from typing import NamedTuple, TypeVar

from marserve.plan.groups import parted_groups_of
from marserve.plan.pod_spec import PACE_S
from marserve.plan.stages import Stage

#: How often seconds by size and paces are fitted to each other: the last changes them by less than a thousandth.
STEPS = 8
#: Seconds of work in a window that say how fast the machine was.
ENOUGH_S = PACE_S / 4

Key = TypeVar("Key", bound=Hashable)
#: A load, by number, and a window of ``PACE_S`` in it.
Window = tuple[int, int]
#: Arrivals and load: what the web service takes of the workers' cores is alike in loads of one kind.
LoadKind = tuple[str, float]
#: And of groups besides, busy workers and pictures.
GroupKind = tuple[LoadKind, int, int]


class _Group(NamedTuple):
    window: Window
    kind: GroupKind
    seconds: float


def window_of(at: float) -> int:
    return int(at / PACE_S)


def paces(stages: Sequence[Stage], workers: int) -> dict[Window, float]:
    """Factors of what workers take, 1 on average, of windows in which they had enough to do; in their order.

    A group's seconds are those of its size in loads of its kind times the pace, and both are found by turns: in a slow
    moment pictures wait, and groups are larger. What chance alone would make of so few groups is taken off.
    """
    kinds = [(stage.arrivals, stage.load) for stage in stages]
    groups = [
        _Group(
            (number, window_of(stage.done.answered[one.number])),
            (kinds[number], min(one.company, workers), one.pictures),
            one.worker_s,
        )
        for number, stage in enumerate(stages)
        for one in parted_groups_of(stage.done, workers)
    ]
    pace = dict.fromkeys(sorted({each.window for each in groups}), 1.0)
    usual: dict[GroupKind, float] = {}
    enough: list[Window] = []
    for _ in range(STEPS):
        usual = _ratios((each.kind, each.seconds, pace[each.window]) for each in groups)
        pace = pace | _ratios((each.window, each.seconds, usual[each.kind]) for each in groups)
        enough = [window for window, seconds in _usual_s(groups, usual).items() if seconds >= ENOUGH_S]
        means = _ratios((kinds[window[0]], pace[window], 1.0) for window in enough)
        pace = {window: factor / means.get(kinds[window[0]], 1.0) for window, factor in pace.items()}
    if len(enough) < 2:
        return {}
    real = _real_share(groups, usual, pace, enough)
    return {window: 1 + real * (pace[window] - 1) for window in enough}


def _ratios(parts: Iterable[tuple[Key, float, float]]) -> dict[Key, float]:
    """By key, the sum of the first numbers over that of the second."""
    sums: dict[Key, tuple[float, float]] = {}
    for key, above, below in parts:
        so_far = sums.get(key, (0.0, 0.0))
        sums[key] = so_far[0] + above, so_far[1] + below
    return {key: above / below for key, (above, below) in sums.items()}


def _usual_s(groups: Sequence[_Group], usual: Mapping[GroupKind, float]) -> dict[Window, float]:
    """What workers would usually take for all groups of each window."""
    found: dict[Window, float] = {}
    for each in groups:
        found[each.window] = found.get(each.window, 0.0) + usual[each.kind]
    return dict(sorted(found.items()))


def _real_share(
    groups: Sequence[_Group],
    usual: Mapping[GroupKind, float],
    pace: Mapping[Window, float],
    enough: Sequence[Window],
) -> float:
    """Of the paces' standard deviation, what is not by chance: a few groups differ in the pictures that are in them."""
    errors: dict[GroupKind, list[float]] = {}
    for each in groups:
        errors.setdefault(each.kind, []).append((each.seconds / pace[each.window] - usual[each.kind]) ** 2)
    squares = {kind: fmean(own) for kind, own in errors.items()}
    chance: dict[Window, float] = {}
    for each in groups:
        chance[each.window] = chance.get(each.window, 0.0) + squares[each.kind]
    usual_s = _usual_s(groups, usual)
    by_chance = fmean(chance[window] / usual_s[window] ** 2 for window in enough)
    variance = fmean((pace[window] - 1) ** 2 for window in enough)
    return sqrt(max(1 - by_chance / variance, 0.0)) if variance else 0.0
