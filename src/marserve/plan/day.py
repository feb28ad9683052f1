"""A day of traffic: its course, and what it takes of pods, put together from what a cell does at each load."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev

from marserve.plan.arrivals import ArrivalProcess
from marserve.plan.hpa import SYNC_S, Hpa, HpaRules
from marserve.plan.planning import CELL_PODS, Setting

#: Shares of a pod's capacity at which a day is simulated.
LOADS = (0.1, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.3)
DAY_S, HOUR_S = 86_400.0, 3600.0


@dataclass(frozen=True)
class Demand:
    """What comes: ``per_s`` on average over a day, and ``hourly`` its course, 24 shares that are 1 on average."""

    per_s: float
    hourly: tuple[float, ...]
    arrivals: ArrivalProcess

    @property
    def peak_per_s(self) -> float:
        return self.per_s * max(self.hourly)

    def at(self, second: float) -> float:
        """Requests a second then, between the middles of the hours."""
        place = second / HOUR_S - 0.5
        earlier = math.floor(place)
        hourly = self.hourly
        before, after = hourly[earlier % 24], hourly[(earlier + 1) % 24]
        return self.per_s * (before + (after - before) * (place - earlier))


def day_curve(peak: float) -> tuple[float, ...]:
    """24 hours, 1 on average and ``peak`` at noon: e to the power of a cosine, of which none is below zero.

    Raises ValueError below 1, and for what no such curve of hours reaches.
    """
    if not 1 <= peak <= 12:
        raise ValueError(f"the busiest hour is 1 to 12 times the mean, not {peak:g}")

    def curve(sharpness: float) -> list[float]:
        raw = [math.exp(sharpness * (math.cos(2 * math.pi * (hour - 12) / 24) - 1)) for hour in range(24)]
        return [each / fmean(raw) for each in raw]

    low, high = 0.0, 64.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if max(curve(middle)) < peak else (low, middle)
    return tuple(curve(low))


@dataclass(frozen=True)
class AtLoad:
    """A cell at one share of its capacity."""

    load: float
    #: Share answered within each limit, by its seconds.
    shares: dict[float, float]
    #: Requests in flight of one pod: mean and standard deviation over time.
    in_flight: float
    varies: float


def by_load(setting: Setting, pods: int, limits_s: Sequence[float]) -> list[AtLoad]:
    """A cell of ``pods`` at each of ``LOADS``."""
    found = []
    cell = min(pods, CELL_PODS)
    for load in LOADS:
        run = setting.run(cell, load * cell * setting.spec.capacity_per_s)
        seen = run.in_flight or [0.0]
        found.append(AtLoad(load, {limit: run.share(limit) for limit in limits_s}, fmean(seen), pstdev(seen)))
    return found


def between(known: Sequence[AtLoad], load: float) -> Iterator[tuple[AtLoad, float]]:
    """The ones next to ``load`` and their weights."""
    if load <= known[0].load:
        yield known[0], 1.0
    elif load >= known[-1].load:
        yield known[-1], 1.0
    else:
        above = next(number for number, one in enumerate(known) if one.load >= load)
        low, high = known[above - 1], known[above]
        weight = (load - low.load) / (high.load - low.load)
        yield low, 1 - weight
        yield high, weight


@dataclass(frozen=True)
class Day:
    """What a day costs, and gives."""

    pod_hours: float
    most: int
    #: Share of all requests of the day within each limit.
    shares: dict[float, float]
    #: Second of the day, requests a second, pods.
    course: list[tuple[float, float, int]]


def day(
    setting: Setting, demand: Demand, known: Sequence[AtLoad], pods: int, autoscaled: HpaRules | None = None
) -> Day:
    """A day in steps of the HorizontalPodAutoscaler, each as the same load was when it lasted.

    That holds while the rate changes slowly against what waits. The metric scatters as it did there. What was asked
    last night has scaled the pods of the morning: the day begins with the pods that its first rate needs.
    """
    source = random.Random(setting.seed)  # noqa: S311
    capacity = setting.spec.capacity_per_s
    hpa = Hpa(autoscaled) if autoscaled else None
    steps = round(DAY_S / SYNC_S)
    if autoscaled:
        pods = min(max(math.ceil(demand.at(0) / demand.peak_per_s * pods), autoscaled.minimum), autoscaled.maximum)
    there, starting = pods, list[tuple[float, int]]()
    shares = dict.fromkeys(known[0].shares, 0.0)
    course, requests, pod_seconds = [], 0.0, 0.0
    for step in range(steps):
        now = step * SYNC_S
        there += sum(count for at, count in starting if at <= now)
        starting = [one for one in starting if one[0] > now]
        per_s = demand.at(now)
        near = list(between(known, per_s / (there * capacity)))
        for limit in shares:
            shares[limit] += per_s * sum(weight * at.shares[limit] for at, weight in near)
        requests += per_s
        pending = sum(count for _, count in starting)
        pod_seconds += (there + pending) * SYNC_S
        course.append((now, per_s, there))
        if hpa is None:
            continue
        mean = sum(weight * at.in_flight for at, weight in near)
        varies = sum(weight * at.varies for at, weight in near)
        # Over load there is no steady number: as many as may be.
        seen = max(mean + source.gauss(0.0, varies / math.sqrt(there)), 0.0)
        wanted = hpa.decide(now, there + pending, [seen] * there, pending)
        if wanted > there + pending:
            starting.append((now + setting.cold_start_s, wanted - there - pending))
        else:
            there -= min(there + pending - wanted, there - 1)
    return Day(
        pod_seconds / HOUR_S,
        max(there for _, _, there in course),
        {limit: total / requests for limit, total in shares.items()},
        course,
    )
