"""What may happen to pods: a zone is lost, a crowd comes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from marserve.plan.arrivals import ArrivalProcess
from marserve.plan.fleet import NOTICE_S, REPLACE_S, FleetRun, LostZone
from marserve.plan.hpa import HpaRules
from marserve.plan.planning import CELL_PODS, Setting

#: Requests of a run in which time passes before and after, at most.
LONG_REQUESTS = 400_000
#: Seconds of a flash crowd, before and after it, and of a part of it, by which it is seen to be over.
CROWD_S, AROUND_S, PART_S = 240.0, 60.0, 5.0


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
