"""From traffic and a limit to pods: searches, days and mishaps, each simulated in a cell of few pods.

A cell stands for all pods in the ratio of their numbers. What is larger than a cell is extrapolated, and says so.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import fmean, pstdev
from typing import Any

from marserve.plan.arrivals import ArrivalProcess
from marserve.plan.fleet import NOTICE_S, REPLACE_S, Balance, Fleet, FleetRun, LostZone
from marserve.plan.hpa import SYNC_S, Hpa, HpaRules
from marserve.plan.pod import PodSpec

#: Pods that are simulated together at most, requests of a run, and of one in which time passes before and after.
CELL_PODS, REQUESTS, LONG_REQUESTS = 8, 20_000, 400_000
#: Shares of a pod's capacity at which a day is simulated, and steps in which the highest that is held is searched.
LOADS, STEPS = (0.1, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.3), 7
DAY_S, HOUR_S = 86_400.0, 3600.0
#: Seconds of a flash crowd, before and after it, and of a part of it, by which it is seen to be over.
CROWD_S, AROUND_S, PART_S = 240.0, 60.0, 5.0


@dataclass(frozen=True)
class Goal:
    """``share`` of all requests, 0 to 1, answered within ``limit_s``."""

    limit_s: float
    share: float

    def is_met(self, run: FleetRun) -> bool:
        return run.share(self.limit_s) >= self.share


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
class Setting:
    """What stays the same while numbers of pods are tried."""

    spec: PodSpec
    goal: Goal
    arrivals: ArrivalProcess
    balance: Balance = "least"
    seed: int = 18
    cold_start_s: float = 0.0

    def run(self, pods: int, per_s: float, *, requests: int = REQUESTS) -> FleetRun:
        """``pods`` under ``per_s`` requests a second, or as much of both as a cell has."""
        cell = min(pods, CELL_PODS)
        due = self.arrivals.times(requests, per_s * cell / pods, self.seed)
        return Fleet(self.spec, cell, due, balance=self.balance, seed=self.seed).run()

    def fleet(self, pods: int, due: Sequence[float], **how: Any) -> FleetRun:
        """A run of exactly these, with what ``Fleet`` takes besides."""
        return Fleet(
            self.spec, pods, due, balance=self.balance, seed=self.seed, cold_start_s=self.cold_start_s, **how
        ).run()

    def holds(self, pods: int, per_s: float) -> bool:
        return per_s < pods * self.spec.capacity_per_s and self.goal.is_met(self.run(pods, per_s))

    def held_per_pod(self, pods: int = CELL_PODS) -> float:
        """The most requests a second of each of ``pods`` within the goal; 0 where even hardly any are not."""
        capacity = self.spec.capacity_per_s
        low, high = 0.0, 1.0
        for _ in range(STEPS):
            middle = (low + high) / 2
            low, high = (middle, high) if self.holds(pods, middle * capacity * pods) else (low, middle)
        return low * capacity

    def pods_for(self, per_s: float) -> int | None:
        """The least that hold ``per_s`` within the goal; None where no number does."""
        least = max(math.ceil(per_s / self.spec.capacity_per_s), 1)
        for pods in range(least, CELL_PODS + 1):
            if self.holds(pods, per_s):
                return pods
        held = self.held_per_pod()
        return max(math.ceil(per_s / held), CELL_PODS + 1) if held else None


def beside_a_lost_zone(pods: int, zones: int) -> int:
    """The least of which ``pods`` are left when one of ``zones`` is lost."""
    return next(number for number in range(pods + 1, 2 * pods + 2) if number - math.ceil(number / zones) >= pods)


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


def warped(arrivals: ArrivalProcess, pieces: Sequence[tuple[float, float]], seed: int) -> list[float]:
    """Requests with the pattern of ``arrivals`` at rates that change: ``pieces`` are seconds and requests a second."""
    ends = list(accumulate(seconds for seconds, _ in pieces))
    counts = list(accumulate(seconds * per_s for seconds, per_s in pieces))
    due, piece = [], 0
    for unit in arrivals.times(max(int(counts[-1]), 1), 1.0, seed):
        while piece < len(pieces) - 1 and unit > counts[piece]:
            piece += 1
        due.append(ends[piece] - (counts[piece] - unit) / pieces[piece][1])
    return due


@dataclass(frozen=True)
class ZoneLost:
    """Shares within the goal's limit: until the load balancer knows, until pods replace the lost, and after that."""

    noticing: float
    short: float
    after: float
    #: Requests that got no answer until then, as a share of those that came.
    unanswered: float
    cell: int


def lose_zone(setting: Setting, pods: int, per_s: float, zones: int) -> ZoneLost:
    """One of ``zones`` is lost at ``per_s``, of the pods that there are or of a cell of them."""
    cell = min(pods, CELL_PODS // zones * zones or zones)
    at_s, back_s = 20.0, 20.0 + NOTICE_S + REPLACE_S + setting.cold_start_s
    rate = per_s * cell / pods
    due = setting.arrivals.times(max(int(rate * (back_s + 40)), 1), rate, setting.seed)
    run = setting.fleet(cell, due, lost=LostZone(zones, at_s))
    limit = setting.goal.limit_s
    return ZoneLost(
        run.share(limit, at_s, at_s + NOTICE_S),
        run.share(limit, at_s + NOTICE_S, back_s),
        run.share(limit, back_s + 10),
        run.unanswered(at_s, back_s),
        cell,
    )


@dataclass(frozen=True)
class Crowd:
    """A crowd that comes at once: shares within the goal's limit while it is there, with fixed pods and scaled ones."""

    fixed: float
    autoscaled: float
    #: Seconds until the goal is met for good with scaled pods; None: not while the crowd was there.
    settled_s: float | None
    most: int
    cell: int
    run: FleetRun


def flash_crowd(setting: Setting, pods: int, per_s: float, factor: float, rules: HpaRules) -> Crowd:
    """``factor`` times as many requests for ``CROWD_S``."""
    each = per_s * (factor * CROWD_S + 2 * AROUND_S) / pods
    cell = max(min(pods, CELL_PODS, int(LONG_REQUESTS / each)), 1)
    rate = per_s * cell / pods
    due = warped(setting.arrivals, [(AROUND_S, rate), (CROWD_S, factor * rate), (AROUND_S, rate)], setting.seed)
    end_s = AROUND_S + CROWD_S
    limit, share = setting.goal.limit_s, setting.goal.share
    fixed = setting.fleet(cell, due)
    # Of the cell as of all; the goal of the metric is a pod's own.
    ratio = cell / pods
    own = HpaRules(max(round(rules.minimum * ratio), 1), max(round(rules.maximum * ratio), 1), target=rules.target)
    run = setting.fleet(cell, due, autoscaled=own)
    parts = [AROUND_S + PART_S * number for number in range(int(CROWD_S / PART_S))]
    missed = [start for start in parts if run.share(limit, start, start + PART_S) < share]
    settled_s = (missed[-1] + PART_S - AROUND_S) if missed else 0.0
    return Crowd(
        fixed.share(limit, AROUND_S, end_s),
        run.share(limit, AROUND_S, end_s),
        settled_s if settled_s < CROWD_S else None,
        max(there for _, there, _ in run.pods),
        cell,
        run,
    )
