"""What workers did in a load: their groups, by what the service says of each picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from marserve.plan.load import OpenLoad
from marserve.plan.service import Timing, timings

#: Seconds by which the worker's times of two groups that it computed together differ at most: it writes one answer
#: after the other.
TOGETHER_S = 0.0005
#: Of these times, by which their answers come after each other at most: the web service writes them one by one.
TOGETHER_SHARE = 0.25


def groups_of(done: OpenLoad) -> list[Timing]:
    """One of each group, in the order in which they were answered; ``number`` is that of its first answer."""
    first: dict[tuple[float, float, int], Timing] = {}
    for one in sorted(timings(done), key=lambda one: done.answered[one.number]):
        first.setdefault(one.group, one)
    return list(first.values())


def parted_groups_of(done: OpenLoad, workers: int) -> list[Timing]:
    """With its part of the worker's seconds for each group that was computed together with the one before it.

    The web service leaves TorchServe the time to hand over a group before it sends the next. Where it has much to do
    both still reach TorchServe together, which gives them to one worker, and of each it says the seconds of both. Of
    several workers two may be as fast by chance, so there nothing is parted.
    """
    found = groups_of(done)
    if workers > 1:
        return found
    batches: list[list[Timing]] = []
    for one in found:
        if batches and _together(batches[-1][-1], one, done.answered):
            batches[-1].append(one)
        else:
            batches.append([one])
    return [
        replace(one, worker_s=one.worker_s * one.pictures / sum(each.pictures for each in batch))
        for batch in batches
        for one in batch
    ]


def _together(before: Timing, one: Timing, answered: Sequence[float]) -> bool:
    """Whether the worker cannot have computed ``one`` after ``before``."""
    is_alike = abs(one.worker_s - before.worker_s) < TOGETHER_S
    return is_alike and answered[one.number] - answered[before.number] < TOGETHER_SHARE * one.worker_s


def line(own: Mapping[int, tuple[float, int]]) -> tuple[float, float]:
    """Seconds of a group, and of each of its pictures: least squares over sizes' seconds and counts, none negative."""
    weight = sum(count for _, count in own.values())
    size = sum(count * each for each, (_, count) in own.items()) / weight
    seconds = sum(count * each_s for each_s, count in own.values()) / weight
    variance = sum(count * (each - size) ** 2 for each, (_, count) in own.items())
    covariance = sum(count * (each - size) * (each_s - seconds) for each, (each_s, count) in own.items())
    slope = min(max(covariance / variance, 0.0), seconds / size) if variance else seconds / size
    return seconds - slope * size, slope
