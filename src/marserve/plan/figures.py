"""What the loads of a measurement say: rates, and the times of workers, of the way to them, and of the web service."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import sqrt
from statistics import fmean, median, pvariance

from marserve.plan.measurement import (
    Conditions,
    Cost,
    GroupSamples,
    MeasuredCapacity,
    Measurement,
    OpenRun,
    Overhead,
    Processors,
    Samples,
)
from marserve.plan.pod_spec import PACE_S
from marserve.plan.service import Timing, timings
from marserve.plan.stages import Stage, saturated_s

LIMITS_MS = (50, 100, 250, 500, 1000)
#: Seconds in the web service's queue up to which a picture did not wait.
NO_WAIT_S = 0.0005
#: Groups of one size from which on their way says how it depends on the size.
ENOUGH_GROUPS = 10


def evaluate(conditions: Conditions, stages: Sequence[Stage]) -> Measurement:
    """Of closed rounds and open loads."""
    workers = conditions.pod.workers
    rounds, loads = [stage for stage in stages if not stage.is_open], _alike(stages)
    return Measurement(
        **dict(conditions),
        overhead=_overhead(rounds, [stage for stage in stages if stage.is_open], workers),
        processors=_processors(stages),
        capacity=_capacity(rounds, workers),
        runs=tuple(_open_run(parts, workers) for parts in loads),
        pace=_pace(stages, workers),
    )


def groups_of(found: Iterable[Timing]) -> list[Timing]:
    """One of each group."""
    return list({one.group: one for one in found}.values())


def saturated(stage: Stage) -> list[Timing]:
    """Of the answers of a round."""
    numbers = set(stage.saturated())
    return [one for one in timings(stage.done) if one.number in numbers]


def _alike(stages: Sequence[Stage]) -> list[list[Stage]]:
    """The open loads, parts of the same one together."""
    found: dict[tuple[str, float], list[Stage]] = {}
    for stage in stages:
        if stage.is_open:
            found.setdefault((stage.arrivals, stage.load), []).append(stage)
    return list(found.values())


def _capacity(rounds: Sequence[Stage], workers: int) -> MeasuredCapacity:
    rates = [stage.rate_per_s for stage in rounds]
    groups = [one for stage in rounds for one in groups_of(saturated(stage))]
    seconds = len(rounds) * saturated_s() * workers
    return MeasuredCapacity(
        per_s=fmean(rates), clients=rounds[0].clients,
        rounds_per_s=tuple(round(rate, 2) for rate in rates),
        worker_busy=sum(one.worker_s for one in groups) / seconds, groups=_by_size(groups, workers),
    )  # fmt: skip


def _by_size(groups: Iterable[Timing], workers: int) -> tuple[GroupSamples, ...]:
    found: dict[tuple[int, int], list[float]] = {}
    for one in groups:
        found.setdefault((min(one.company, workers), one.pictures), []).append(one.worker_s)
    return tuple(
        GroupSamples(busy=busy, pictures=pictures, **dict(Samples.of(seconds)))
        for (busy, pictures), seconds in sorted(found.items())
    )


def _overhead(rounds: Sequence[Stage], loads: Sequence[Stage], workers: int) -> Overhead:
    ways: dict[int, list[float]] = {}
    whole: list[float] = []
    for stage in loads:
        found = timings(stage.done)
        for one in groups_of(found):
            if one.company <= workers:  # a worker was idle
                ways.setdefault(one.pictures, []).append(one.group_s - one.worker_s)
        whole += [
            stage.done.answered[one.number] - stage.done.due[one.number] - one.worker_s
            for one in found
            if one.company == one.pictures == 1 and one.queue_s < NO_WAIT_S
        ]
    alone = ways.get(1) or [0.0]
    more = [
        (size - 1, median(times) - median(alone))
        for size, times in ways.items()
        if size > 1 and len(times) >= ENOUGH_GROUPS
    ]
    slope = sum(size * extra for size, extra in more) / sum(size * size for size, _ in more) if more else 0.0
    groups = [one for stage in rounds for one in groups_of(saturated(stage))]
    idle_s = len(rounds) * saturated_s() * workers - sum(one.worker_s for one in groups)
    found_whole = Samples.of(whole)
    return Overhead(
        **dict(found_whole), hop_s=fmean(alone), web_s=max(found_whole.mean_s - fmean(alone), 0.0),
        hop_picture_s=max(slope, 0.0), between_groups_s=max(idle_s / len(groups), 0.0),
    )  # fmt: skip


def _processors(stages: Sequence[Stage]) -> Processors | None:
    """What is taken for a picture and for a group, by least squares over the loads, whose groups have other sizes."""
    if not all(stage.cpu_s for stage in stages):
        return None
    pictures = [float(stage.done.status.count(200)) for stage in stages]
    groups = [float(len(groups_of(timings(stage.done)))) for stage in stages]

    def cost(name: str) -> Cost:
        spent = [stage.done.cpu_s if name == "generator" else stage.cpu_s[name] for stage in stages]
        return _cost(pictures, groups, spent)

    return Processors(
        web=cost("web"), torchserve=cost("torchserve"), worker=cost("workers"), generator=cost("generator")
    )


def _cost(pictures: Sequence[float], groups: Sequence[float], spent: Sequence[float]) -> Cost:
    """``spent`` as so much for each of ``pictures`` and of ``groups``; none is negative."""

    def product(ones: Sequence[float], others: Sequence[float]) -> float:
        return sum(one * other for one, other in zip(ones, others, strict=True))

    squares, mixed, squares_of_groups = product(pictures, pictures), product(pictures, groups), product(groups, groups)
    for_pictures, for_groups = product(pictures, spent), product(groups, spent)
    determinant = squares * squares_of_groups - mixed * mixed
    if determinant > 1e-6 * squares * squares_of_groups:
        picture_s = (for_pictures * squares_of_groups - for_groups * mixed) / determinant
        group_s = (for_groups * squares - for_pictures * mixed) / determinant
        if picture_s >= 0 <= group_s:
            return Cost(picture_s=picture_s, group_s=group_s)
        if picture_s < 0:
            return Cost(picture_s=0.0, group_s=for_groups / squares_of_groups)
    return Cost(picture_s=for_pictures / squares if squares else 0.0, group_s=0.0)


def _open_run(parts: Sequence[Stage], workers: int) -> OpenRun:
    first = parts[0]
    latencies = sorted(latency for part in parts for latency in part.done.latencies_ms()) or [0.0]
    requests = sum(len(part.done.due) for part in parts)
    return OpenRun(
        arrivals=first.arrivals, load=first.load, per_s=first.per_s, seeds=tuple(part.seed for part in parts),
        requests=requests, failed=requests - sum(part.done.status.count(200) for part in parts),
        p50_s=latencies[len(latencies) // 2] / 1e3,
        p99_s=latencies[min(len(latencies) - 1, len(latencies) * 99 // 100)] / 1e3,
        within={limit: sum(part.done.within(limit) for part in parts) / requests for limit in LIMITS_MS},
        lag_p99_s=max(part.done.lag_p99_ms for part in parts) / 1e3,
        groups=_by_size((one for part in parts for one in groups_of(timings(part.done))), workers),
    )  # fmt: skip


def _pace(stages: Sequence[Stage], workers: int) -> tuple[float, ...]:
    """By how much workers were slower, from ``PACE_S`` to ``PACE_S``, than on average in the same kind of load.

    What chance alone would make of it is taken off: a few dozen groups differ in the pictures that are in them.
    """
    found: dict[tuple[str, float, int, int], list[float]] = {}
    windows: dict[tuple[int, int], list[tuple[tuple[str, float, int, int], float]]] = {}
    for number, stage in enumerate(stages):
        for one in groups_of(timings(stage.done)):
            kind = (stage.arrivals, stage.load, min(one.company, workers), one.pictures)
            found.setdefault(kind, []).append(one.worker_s)
            window = (number, int(stage.done.answered[one.number] / PACE_S))
            windows.setdefault(window, []).append((kind, one.worker_s))
    means = {kind: fmean(seconds) for kind, seconds in found.items()}
    variances = {kind: pvariance(seconds) for kind, seconds in found.items()}
    pace, by_chance = [], []
    for _, groups in sorted(windows.items()):
        expected_s = sum(means[kind] for kind, _ in groups)
        if expected_s < PACE_S / 4:  # a last, short one
            continue
        pace.append(sum(seconds for _, seconds in groups) / expected_s)
        by_chance.append(sum(variances[kind] for kind, _ in groups) / expected_s**2)
    if len(pace) < 2:
        return (1.0,)
    mean, variance = fmean(pace), pvariance(pace)
    real = sqrt(max(1 - fmean(by_chance) / variance, 0.0)) if variance else 0.0
    return tuple(round(1 + real * (each / mean - 1), 4) for each in pace)
