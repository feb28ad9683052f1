"""Where the time of pictures goes, by what the service says of each, and in the simulation at the same arrivals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from marserve.plan.groups import parted_groups_of
from marserve.plan.observed import observe
from marserve.plan.pace import window_of
from marserve.plan.pod_spec import PACE_S, PodSpec
from marserve.plan.service import timings
from marserve.plan.stages import Stage

#: Of a picture's time: waiting in the queue, at the worker, on the way to it and back, in the web service.
PARTS = ("queue", "worker", "way", "web service")
SEED = 16
#: Seconds of work in a window that say how fast the machine was.
ENOUGH_S = PACE_S / 5


@dataclass(frozen=True)
class Spent:
    #: Mean milliseconds of a picture by ``PARTS``.
    real_ms: tuple[float, ...]
    simulated_ms: tuple[float, ...]
    #: Seconds of workers for all groups over those of simulated groups of the same sizes, and from ``PACE_S`` to
    #: ``PACE_S``.
    worker_ratio: float
    pace: tuple[float, ...]


def spent(spec: PodSpec, stage: Stage) -> Spent:
    """Of an open load."""
    # The pace is what the ratios are to show.
    pod, took = observe(replace(spec, pace=(1.0,)), stage.done.due, seed=SEED)
    simulated: dict[int, list[float]] = {}
    for group in pod.groups:
        simulated.setdefault(len(group.numbers), []).append(group.worker_s)
    groups = [
        (stage.done.answered[one.number], one.worker_s, fmean(simulated[one.pictures]))
        for one in parted_groups_of(stage.done, spec.workers)
        if one.pictures in simulated
    ]
    expected_s = sum(expected for _, _, expected in groups)
    return Spent(
        _mean_ms(
            (one.queue_s, one.worker_s, one.group_s, stage.done.answered[one.number] - stage.done.due[one.number])
            for one in timings(stage.done)
        ),
        _mean_ms(
            (pod.queue_s[number], group.worker_s, group.group_s, took[number] or 0.0)
            for group in pod.groups
            for number in group.numbers
        ),
        sum(real for _, real, _ in groups) / expected_s if expected_s else 1.0,
        _pace(groups),
    )


def _pace(groups: Sequence[tuple[float, float, float]]) -> tuple[float, ...]:
    """Of moments of answers, and workers' real and simulated seconds; 1 where workers did next to nothing."""
    sums: dict[int, tuple[float, float]] = {}
    for answered, real, expected in groups:
        # What a worker began in the window before was mostly computed there.
        window = window_of(answered - real / 2)
        so_far = sums.get(window, (0.0, 0.0))
        sums[window] = so_far[0] + real, so_far[1] + expected
    windows = [sums.get(window, (0.0, 0.0)) for window in range(max(sums, default=0) + 1)]
    return tuple(real / expected if expected > ENOUGH_S else 1.0 for real, expected in windows)


def _mean_ms(pictures: Iterable[tuple[float, float, float, float]]) -> tuple[float, ...]:
    """By ``PARTS``, of seconds in the queue, at the worker, of the group with its way, and until the answer."""

    def parts() -> Iterator[tuple[float, ...]]:
        for queue_s, worker_s, group_s, whole_s in pictures:
            yield queue_s, worker_s, group_s - worker_s, whole_s - queue_s - group_s

    return tuple(1e3 * fmean(each) for each in zip(*parts(), strict=True)) or (0.0,) * len(PARTS)
