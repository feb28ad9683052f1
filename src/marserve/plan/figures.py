"""What the loads of a measurement say: rates, and the times of workers, of the way to them, and of the web service."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import fmean, median

from marserve.plan.costs import processors
from marserve.plan.groups import groups_of, line, parted_groups_of
from marserve.plan.measurement import (
    Conditions,
    GroupSamples,
    MeasuredCapacity,
    Measurement,
    OpenRun,
    Overhead,
    Samples,
)
from marserve.plan.pace import Window, paces, window_of
from marserve.plan.service import Timing, timings
from marserve.plan.stages import Stage, saturated_s

LIMITS_MS = (50, 100, 250, 500, 1000)
#: Seconds in the web service's queue up to which a picture did not wait.
NO_WAIT_S = 0.0005
#: Groups of one size from which on their way says how it depends on the size.
ENOUGH_GROUPS = 10
#: Seconds by which a group's way is longer than the pause before it, where it waited at TorchServe for the worker.
AT_HAND_S = 0.005


@dataclass(frozen=True)
class _Load:
    """A stage and its groups; ``even`` has what they would have taken at the mean pace of the machine."""

    stage: Stage
    groups: list[Timing]
    even: list[Timing]


def evaluate(conditions: Conditions, stages: Sequence[Stage]) -> Measurement:
    """Of closed rounds and open loads."""
    workers = conditions.pod.workers
    pace = paces(stages, workers)
    loads = [_load(stage, number, pace, workers) for number, stage in enumerate(stages)]
    rounds = [load for load in loads if not load.stage.is_open]
    return Measurement(
        **dict(conditions),
        overhead=_overhead(loads, workers),
        processors=processors(stages),
        capacity=_capacity(rounds, workers),
        runs=tuple(_open_run(parts, workers) for parts in _alike(loads)),
        pace=tuple(round(factor, 4) for factor in pace.values()) or (1.0,),
    )


def _load(stage: Stage, number: int, pace: Mapping[Window, float], workers: int) -> _Load:
    groups = parted_groups_of(stage.done, workers)
    even = [
        replace(one, worker_s=one.worker_s / pace.get((number, window_of(stage.done.answered[one.number])), 1.0))
        for one in groups
    ]
    return _Load(stage, groups, even)


def _alike(loads: Sequence[_Load]) -> list[list[_Load]]:
    """The open loads, parts of the same one together."""
    found: dict[tuple[str, float], list[_Load]] = {}
    for load in loads:
        if load.stage.is_open:
            found.setdefault((load.stage.arrivals, load.stage.load), []).append(load)
    return list(found.values())


def _capacity(rounds: Sequence[_Load], workers: int) -> MeasuredCapacity:
    rates = [load.stage.rate_per_s for load in rounds]
    groups, even = [], []
    for load in rounds:
        numbers = set(load.stage.saturated())
        groups += [one for one in load.groups if one.number in numbers]
        even += [one for one in load.even if one.number in numbers]
    seconds = len(rounds) * saturated_s() * workers
    return MeasuredCapacity(
        per_s=fmean(rates), clients=rounds[0].stage.clients,
        rounds_per_s=tuple(round(rate, 2) for rate in rates),
        worker_busy=sum(one.worker_s for one in groups) / seconds, groups=_by_size(even, workers),
    )  # fmt: skip


def _by_size(groups: Iterable[Timing], workers: int) -> tuple[GroupSamples, ...]:
    found: dict[tuple[int, int], list[float]] = {}
    for one in groups:
        found.setdefault((min(one.company, workers), one.pictures), []).append(one.worker_s)
    return tuple(
        GroupSamples(busy=busy, pictures=pictures, **dict(Samples.of(seconds)))
        for (busy, pictures), seconds in sorted(found.items())
    )


def _overhead(loads: Sequence[_Load], workers: int) -> Overhead:
    ways: dict[int, list[float]] = {}
    whole: list[float] = []
    for done in (load.stage.done for load in loads if load.stage.is_open):
        for one in groups_of(done):
            if one.company <= workers:  # a worker was idle
                ways.setdefault(one.pictures, []).append(one.group_s - one.worker_s)
        whole += [
            done.answered[one.number] - done.due[one.number] - one.worker_s
            for one in timings(done)
            if one.company == one.pictures == 1 and one.queue_s < NO_WAIT_S
        ]
    alone = median(ways.get(1) or [0.0])
    _, hop_picture_s = _line_of(ways)
    between_s, between_picture_s = _line_of(_pauses(loads)) if workers == 1 else (_idle_s(loads, workers), 0.0)
    return Overhead(
        **dict(Samples.of(whole)), hop_s=alone, web_s=max(median(whole or [0.0]) - alone, 0.0),
        hop_picture_s=hop_picture_s, between_groups_s=between_s, between_picture_s=between_picture_s,
    )  # fmt: skip


def _line_of(times: Mapping[int, Sequence[float]]) -> tuple[float, float]:
    """Usual seconds by the pictures of a group: of one picture, and for each further one; 0 where all were alike."""
    enough = {size: own for size, own in times.items() if len(own) >= ENOUGH_GROUPS} or times
    if len(enough) < 2:
        return median(*enough.values()) if enough else 0.0, 0.0
    fixed_s, each_s = line({size: (median(own), len(own)) for size, own in enough.items()})
    return fixed_s + each_s, each_s


def _pauses(loads: Sequence[_Load]) -> dict[int, list[float]]:
    """A worker's pauses before groups that waited at TorchServe, by their pictures.

    Both answers take the same way back, so that they lie as far apart as the ends of the worker's times. Of groups that
    were computed together the first has the seconds of all, and those after it no pause.
    """
    pauses: dict[int, list[float]] = {}
    for load in loads:
        answered = load.stage.done.answered
        for before, one in pairwise(groups_of(load.stage.done)):
            pause_s = answered[one.number] - answered[before.number] - one.worker_s
            if 0 < pause_s < one.group_s - one.worker_s - AT_HAND_S:
                pauses.setdefault(one.pictures, []).append(pause_s)
    return pauses


def _idle_s(loads: Sequence[_Load], workers: int) -> float:
    """A worker's pause between two groups while clients always wait: of several it is not known whose is the next."""
    idle_s, groups = 0.0, 0
    for load in loads:
        if not load.stage.is_open:
            numbers = set(load.stage.saturated())
            own = [one.worker_s for one in load.groups if one.number in numbers]
            idle_s += saturated_s() * workers - sum(own)
            groups += len(own)
    return max(idle_s / groups, 0.0)


def _open_run(parts: Sequence[_Load], workers: int) -> OpenRun:
    loads = [part.stage.done for part in parts]
    first = parts[0].stage
    latencies = sorted(latency for done in loads for latency in done.latencies_ms()) or [0.0]
    requests = sum(len(done.due) for done in loads)
    return OpenRun(
        arrivals=first.arrivals, load=first.load, per_s=first.per_s, seeds=tuple(part.stage.seed for part in parts),
        requests=requests, failed=requests - sum(done.status.count(200) for done in loads),
        p50_s=latencies[len(latencies) // 2] / 1e3,
        p99_s=latencies[min(len(latencies) - 1, len(latencies) * 99 // 100)] / 1e3,
        within={limit: sum(done.within(limit) for done in loads) / requests for limit in LIMITS_MS},
        lag_p99_s=max(done.lag_p99_ms for done in loads) / 1e3,
        groups=_by_size((one for part in parts for one in part.even), workers),
    )  # fmt: skip
