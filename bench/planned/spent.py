"""Where the time of pictures goes, by what the service says of each, and in the simulation at the same arrivals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from statistics import fmean

from marserve.plan.figures import groups_of
from marserve.plan.observed import observe
from marserve.plan.pod_spec import PodSpec
from marserve.plan.service import timings
from marserve.plan.stages import Stage

#: Of a picture's time: waiting in the queue, at the worker, on the way to it and back, in the web service.
PARTS = ("queue", "worker", "way", "web service")
SEED = 16


@dataclass(frozen=True)
class Spent:
    #: Mean milliseconds of a picture by ``PARTS``.
    real_ms: tuple[float, ...]
    simulated_ms: tuple[float, ...]
    #: Seconds of workers for all groups over those of simulated groups of the same sizes.
    worker_ratio: float


def spent(spec: PodSpec, stage: Stage) -> Spent:
    """Of an open load."""
    found = timings(stage.done)
    real: dict[int, list[float]] = {}
    for one in groups_of(found):
        real.setdefault(one.pictures, []).append(one.worker_s)
    # The pace is what the ratio is to show.
    pod, took = observe(replace(spec, pace=(1.0,)), stage.done.due, seed=SEED)
    simulated: dict[int, list[float]] = {}
    for group in pod.groups:
        simulated.setdefault(len(group.numbers), []).append(group.worker_s)
    sizes = real.keys() & simulated.keys()
    expected_s = sum(len(real[size]) * fmean(simulated[size]) for size in sizes)
    return Spent(
        _mean_ms(
            (one.queue_s, one.worker_s, one.group_s, stage.done.answered[one.number] - stage.done.due[one.number])
            for one in found
        ),
        _mean_ms(
            (pod.queue_s[number], group.worker_s, group.group_s, took[number] or 0.0)
            for group in pod.groups
            for number in group.numbers
        ),
        sum(sum(real[size]) for size in sizes) / expected_s if expected_s else 1.0,
    )


def _mean_ms(pictures: Iterable[tuple[float, float, float, float]]) -> tuple[float, ...]:
    """By ``PARTS``, of seconds in the queue, at the worker, of the group with its way, and until the answer."""

    def parts() -> Iterator[tuple[float, ...]]:
        for queue_s, worker_s, group_s, whole_s in pictures:
            yield queue_s, worker_s, group_s - worker_s, whole_s - queue_s - group_s

    return tuple(1e3 * fmean(each) for each in zip(*parts(), strict=True)) or (0.0,) * len(PARTS)
