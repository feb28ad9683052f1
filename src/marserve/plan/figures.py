"""What the loads of a measurement say: rates, and the times of workers, of the way to them, and of the web service."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from marserve.plan.load import OpenLoad
from marserve.plan.measurement import GroupSamples, Hop, OpenRun, Samples, WebShare
from marserve.plan.service import Timing, timings

#: Seconds of a round of the capacity, and until it reaches its rate.
ROUND_S, RAMP_S = 6.0, 1.0
LIMITS_MS = (50, 100, 250, 500, 1000)
#: Seconds in the web service's queue up to which a picture did not wait.
NO_WAIT_S = 0.0005


@dataclass
class Collected:
    """What the stages have found."""

    rounds: list[OpenLoad] = field(default_factory=list)
    saturated: list[Timing] = field(default_factory=list)
    bursts: OpenLoad | None = None
    runs: list[tuple[OpenRun, OpenLoad]] = field(default_factory=list)
    #: Processor seconds of each process during the rounds.
    cpu_s: Counter[str] = field(default_factory=Counter)
    #: And of the generator.
    generator_s: float = 0.0


def rates(rounds: Sequence[OpenLoad]) -> list[float]:
    """Answers a second of each round, its beginning left out."""
    return [
        sum(status == 200 and RAMP_S <= at <= ROUND_S for status, at in zip(load.status, load.answered, strict=True))
        / (ROUND_S - RAMP_S)
        for load in rounds
    ]


def groups_of(found: Sequence[Timing]) -> list[Timing]:
    """One of each group."""
    return list({one.group: one for one in found}.values())


def by_size(found: Sequence[Timing], workers: int) -> tuple[GroupSamples, ...]:
    by_size: dict[tuple[int, int], list[float]] = {}
    for one in groups_of(found):
        by_size.setdefault((min(one.company, workers), one.pictures), []).append(one.worker_s)
    return tuple(
        GroupSamples(busy=busy, pictures=pictures, **dict(Samples.of(seconds)))
        for (busy, pictures), seconds in sorted(by_size.items())
    )


def busy_share(found: Collected, workers: int) -> float:
    worked = sum(one.worker_s for one in groups_of(found.saturated))
    return worked / (len(found.rounds) * (ROUND_S - RAMP_S) * workers)


def hop(found: Collected, workers: int) -> Hop:
    assert found.bursts is not None  # noqa: S101
    lone = [one for load in (found.bursts, *(load for _, load in found.runs)) for one in groups_of(timings(load))]
    ways: dict[int, list[float]] = {}
    for one in lone:
        if one.company <= workers:  # a worker was idle
            ways.setdefault(one.pictures, []).append(one.group_s - one.worker_s)
    alone = ways.get(1) or [0.0]
    more = [(size - 1, median(times) - median(alone)) for size, times in ways.items() if size > 1 and len(times) > 9]
    slope = sum(size * extra for size, extra in more) / sum(size * size for size, _ in more) if more else 0.0
    groups = groups_of(found.saturated)
    idle_s = len(found.rounds) * (ROUND_S - RAMP_S) * workers - sum(one.worker_s for one in groups)
    return Hop(
        **dict(Samples.of(alone)), per_picture_s=max(slope, 0.0), between_groups_s=max(idle_s / len(groups), 0.0)
    )


def web(found: Collected) -> WebShare:
    assert found.bursts is not None  # noqa: S101
    lone = [
        load.answered[one.number] - load.sent[one.number] - one.queue_s - one.group_s
        for load in (found.bursts, *(load for _, load in found.runs))
        for one in timings(load)
        if one.company == one.pictures == 1 and one.queue_s < NO_WAIT_S
    ]
    pictures = sum(load.status.count(200) for load in found.rounds)

    def each(name: str) -> float | None:
        return found.cpu_s[name] / pictures if name in found.cpu_s else None

    return WebShare(
        **dict(Samples.of(lone)),
        cpu_s_per_picture=each("web"),
        torchserve_cpu_s_per_picture=each("torchserve"),
        worker_cpu_s_per_picture=each("workers"),
        generator_cpu_s_per_picture=found.generator_s / pictures,
    )


def open_run(name: str, load: float, per_s: float, done: OpenLoad) -> OpenRun:
    latencies = done.latencies_ms() or [0.0]
    return OpenRun(
        arrivals=name, load=load, per_s=round(per_s, 2), requests=len(done.due),
        failed=len(done.due) - done.status.count(200),
        p50_s=latencies[len(latencies) // 2] / 1e3,
        p99_s=latencies[min(len(latencies) - 1, len(latencies) * 99 // 100)] / 1e3,
        within={limit: done.within(limit) / len(done.due) for limit in LIMITS_MS},
        lag_p99_s=done.lag_p99_ms / 1e3,
    )  # fmt: skip
