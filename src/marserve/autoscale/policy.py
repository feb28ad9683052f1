"""The decision: a pure function of what was observed of one model, for the service and the simulation alike."""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass

from marserve.autoscale.rules import Rules
from marserve.system.machine import Machine
from marserve.torchserve.metrics import Counters

#: Parts into which the quiet time is divided to find its busiest.
PARTS = 6
#: Intervals are never exactly as long as they should be.
TOLERANCE = 0.8


@dataclass(frozen=True)
class Observation:
    """One interval, which ended at ``at_s`` on any clock that only goes forward."""

    at_s: float
    seconds: float
    #: What happened in it.
    traffic: Counters
    #: Workers that TorchServe lists, and how many of them take work, at its end.
    listed: int
    ready: int
    #: Requests that waited for a worker at its end.
    pending: int


@dataclass(frozen=True)
class Traffic:
    """Several intervals seen as one."""

    seconds: float
    total: Counters
    #: The shortest and the longest that the queue was at the end of any of them.
    shortest_queue: int
    longest_queue: int
    #: How many more waited at the end of the last one than at the end of the first.
    queue_growth: int

    @classmethod
    def over(cls, observations: Sequence[Observation]) -> Traffic:
        pending = [observation.pending for observation in observations] or [0]
        counters = zip(*(astuple(observation.traffic) for observation in observations), strict=True)
        return cls(
            sum(observation.seconds for observation in observations),
            Counters(*map(sum, counters)),
            min(pending),
            max(pending),
            pending[-1] - pending[0],
        )

    @property
    def arrived_per_s(self) -> float:
        return self.total.arrived / self.seconds if self.seconds else 0.0

    @property
    def wait_s(self) -> float:
        """Mean seconds that an answered request waited; 0 where none was answered."""
        return self.total.waited_s / self.total.answered if self.total.answered else 0.0

    def expected_wait_s(self, pending: int) -> float:
        """Seconds that a request behind ``pending`` others waits at the rate at which they were answered lately."""
        if not pending:
            return 0.0
        return pending * self.seconds / self.total.answered if self.total.answered else self.seconds

    @property
    def busy(self) -> float:
        """Mean number of workers at work."""
        return self.total.worked_s / self.seconds if self.seconds else 0.0

    @property
    def demand(self) -> float:
        """Workers that would be at work if everything that came had been answered."""
        if not self.total.answered:
            return self.busy
        return max(self.busy, self.arrived_per_s * self.total.worked_s / self.total.answered)


class Ground(enum.Enum):
    """Why a number of workers is chosen."""

    WITHIN_TARGET = "within the target"
    BOUNDS = "bounds"
    STARTING = "not all workers are ready"
    JUDGING = "requests wait, for a short time so far"
    WAITING = "requests wait"
    DRAINING = "the queue drains"
    LIMITED = "no more are allowed"
    QUIET = "quiet"


@dataclass(frozen=True)
class Decision:
    #: How many there should be.
    workers: int
    ground: Ground
    #: For a person: the figures that led to it.
    reason: str


@dataclass(frozen=True)
class Capacity:
    """The most workers of a model, and what it is that sets the limit."""

    workers: int
    limit: str


def capacity(
    machine: Machine, *, workers: int, threads: int, claimed_by_others: int, bytes_per_worker: int
) -> Capacity:
    """The most workers that a model with ``workers`` of ``threads`` each may have.

    ``claimed_by_others`` are workers of other models that are at work. ``bytes_per_worker`` is what the largest worker
    takes; pages that workers share count as if each had its own, which errs on the safe side.
    """
    by_cores = max(1, machine.cores // threads - claimed_by_others)
    by_memory = workers + machine.spare_bytes // max(1, bytes_per_worker)
    if by_memory < by_cores:
        return Capacity(
            by_memory,
            f"{machine.available_bytes / 1e9:.1f} GB of memory are left, of which {machine.reserve_bytes / 1e9:.1f} GB "
            f"stay free, and a worker takes {bytes_per_worker / 1e9:.2f} GB",
        )
    others = f", {claimed_by_others} of them taken by other models" if claimed_by_others else ""
    return Capacity(by_cores, f"{machine.cores} cores{others}")


def decide(history: Sequence[Observation], changed_at_s: float, rules: Rules, most: Capacity) -> Decision:
    """How many workers there should be after ``history``, oldest first and not empty.

    ``changed_at_s`` is when their number was last changed, or when watching began.
    """
    now = history[-1]
    workers = now.listed
    bounded = min(max(workers, rules.minimum), rules.maximum)
    if bounded != workers:
        return Decision(bounded, Ground.BOUNDS, f"{rules.minimum} to {rules.maximum} are allowed")
    if not now.ready or (now.ready < workers and now.at_s - changed_at_s < rules.start_s):
        return Decision(workers, Ground.STARTING, f"{now.ready} of {workers} are ready")
    recent = Traffic.over(
        _intervals_since(history, max(now.at_s - rules.up_after_s, changed_at_s, _settled_at_s(history)))
    )
    # Waits are known once they are over, when it is late; that the queue never became shorter is known at once.
    wait_s = max(recent.wait_s, recent.expected_wait_s(recent.shortest_queue))
    if wait_s > rules.target_wait_s:
        return _more(recent, wait_s, now, rules, most)
    return _fewer(history, recent, changed_at_s, rules)


def _more(recent: Traffic, wait_s: float, now: Observation, rules: Rules, most: Capacity) -> Decision:
    workers = now.listed
    figures = (
        f"{recent.arrived_per_s:.1f} requests/s wait {wait_s * 1000:.0f} ms "
        f"(target {rules.target_wait_s * 1000:.0f} ms) and need {recent.demand:.1f} workers"
    )
    if recent.seconds < rules.up_after_s * TOLERANCE:
        return Decision(workers, Ground.JUDGING, f"{figures}, for {recent.seconds:.1f} s so far")
    # What waited while there were too few workers is counted when it is answered, by enough of them.
    if recent.expected_wait_s(recent.longest_queue) <= rules.quiet_wait * rules.target_wait_s:
        return Decision(workers, Ground.DRAINING, f"{figures}, but hardly anything waits any more")
    if recent.demand <= rules.planned_busy * now.ready and recent.queue_growth < 0:
        return Decision(workers, Ground.DRAINING, f"{figures}, but fewer and fewer wait")
    wanted = max(workers + 1, math.ceil(recent.demand / rules.planned_busy))
    wanted = min(wanted, math.ceil(workers * rules.largest_step))
    allowed = min(rules.maximum, most.workers)
    if allowed <= workers:
        limit = f"{rules.maximum} are the most allowed" if rules.maximum <= most.workers else most.limit
        return Decision(workers, Ground.LIMITED, f"{figures}, but no more are possible: {limit}")
    return Decision(min(wanted, allowed), Ground.WAITING, figures)


def _fewer(history: Sequence[Observation], recent: Traffic, changed_at_s: float, rules: Rules) -> Decision:
    now = history[-1]
    workers = now.listed
    figures = f"{recent.arrived_per_s:.1f} requests/s wait {recent.wait_s * 1000:.0f} ms"
    keep = Decision(workers, Ground.WITHIN_TARGET, figures)
    if workers <= rules.minimum or now.at_s - changed_at_s < rules.down_after_s:
        return keep
    quiet = _intervals_since(history, now.at_s - rules.down_after_s)
    if sum(observation.seconds for observation in quiet) < rules.down_after_s * TOLERANCE:
        return keep
    size = math.ceil(len(quiet) / PARTS)
    parts = [Traffic.over(quiet[start : start + size]) for start in range(0, len(quiet), size)]
    demand = max(part.demand for part in parts)
    wait_s = max(max(part.wait_s, part.expected_wait_s(part.shortest_queue)) for part in parts)
    if demand > rules.quiet_busy * (workers - 1) or wait_s > rules.quiet_wait * rules.target_wait_s:
        return keep
    reason = (
        f"for {rules.down_after_s:.0f} s requests waited {wait_s * 1000:.0f} ms and needed {demand:.1f} workers at most"
    )
    return Decision(workers - 1, Ground.QUIET, reason)


def _settled_at_s(history: Sequence[Observation]) -> float:
    """Since when as many workers as now were ready: what was before says nothing about their number."""
    now = history[-1]
    return next((seen.at_s for seen in reversed(history) if seen.ready != now.ready), -math.inf)


def _intervals_since(history: Sequence[Observation], start_s: float) -> list[Observation]:
    """Those that began then or later; by half an interval, since none is exactly as long as it should be."""
    return [seen for seen in history if seen.at_s - seen.seconds / 2 >= start_s]
