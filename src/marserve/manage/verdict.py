"""Whether a version is as good as another, by what live pictures show: tests that end as soon as they can.

Shares are tested by Wald's sequential probability ratio test (Wald 1945): of all tests with its errors it needs the
fewest pictures on average (Wald and Wolfowitz 1948), and may be looked at after every picture. Times are compared in
pairs, by how many exceed the limit: whatever their distribution, and whatever else the machine is at work on, both of a
pair had it. Intervals are for people and decide nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from marserve.web.rollout.files import Counts, Seen

#: Share of the wrong decisions, of either kind.
ERROR = 0.01
#: A share of half the limit passes, and one of twice the limit fails, but for ERROR; at the limit it may be either.
FACTOR = 2.0
#: Of pairs in which the candidate took longer than the limit allows: at the limit it is every other one.
PAIRS_BELOW, PAIRS_ABOVE = 0.4, 0.6
#: Standard deviations on either side of a 95 % interval.
Z = 1.959964

State = Literal["undecided", "passed", "failed"]
#: ``forward``: it becomes the default. ``back``: it is removed.
Decision = Literal["forward", "back"]
Interval = tuple[float, float]


class SequentialTest:
    """Whether an event is as rare as ``usual`` (it passes) or as frequent as ``too_many`` (it fails), from 0 to 1."""

    def __init__(self, usual: float, too_many: float) -> None:
        self._event = math.log(too_many / usual)
        self._none = math.log((1 - too_many) / (1 - usual))
        self._likelihood = 0.0
        self.state: State = "undecided"

    def observe(self, events: int, others: int) -> None:
        """After it has passed it goes on, and what comes later may fail it: the past is no credit beyond that."""
        accepted = math.log(ERROR / (1 - ERROR))
        self._likelihood = max(self._likelihood + events * self._event + others * self._none, accepted)
        if self._likelihood >= -accepted:
            self.state = "failed"
        elif self._likelihood == accepted and self.state == "undecided":
            self.state = "passed"


def wilson(events: int, of: int) -> Interval:
    """The 95 % interval of a share (Wilson 1927)."""
    if not of:
        return 0.0, 1.0
    share, z = events / of, Z * Z / of
    middle = (share + z / 2) / (1 + z)
    half = Z / (1 + z) * math.sqrt(share * (1 - share) / of + z / (4 * of))
    # At the ends of the scale without what rounding leaves.
    return max(middle - half, 0.0) if events else 0.0, min(middle + half, 1.0) if events < of else 1.0


def median(values: Sequence[float]) -> tuple[float, Interval]:
    """It and its 95 % interval, by order statistics; infinitely wide where there are too few. ``values``: 1 or more."""
    rising = sorted(values)
    count = len(rising)
    beyond = math.floor((count - Z * math.sqrt(count)) / 2)
    low, high = (rising[beyond - 1], rising[count - beyond]) if beyond >= 1 else (0.0, math.inf)
    return (rising[(count - 1) // 2] + rising[count // 2]) / 2, (low, high)


@dataclass(frozen=True)
class Limits:
    #: Share of the pictures whose most probable class may differ; None: other answers are intended.
    max_disagreement: float | None
    #: How many times as long it may take.
    max_latency_ratio: float
    #: Share of the pictures that it may fail and the stable version answers.
    max_error_rate: float
    #: Its workers that may end by themselves: each takes seconds to come back, and one may be anybody's fault.
    max_ended_workers: int


@dataclass(frozen=True)
class Finding:
    """One of the things that were compared."""

    name: str
    state: State
    #: In words and figures.
    text: str
    value: float | None
    interval: Interval | None
    limit: float | None


@dataclass(frozen=True)
class Verdict:
    model: str
    version: str
    decision: Decision
    #: Why it goes back.
    reason: str
    seconds: float
    #: Of the live pictures those that it got, and those that were to be compared while no worker was free.
    live: int
    answered: int
    dropped: int
    findings: tuple[Finding, ...]

    def __str__(self) -> str:
        decided = "passes" if self.decision == "forward" else f"goes back: {self.reason}"
        traffic = f"{self.live:,} live pictures in {self.seconds:,.0f} s; {self.answered:,} answered by it"
        dropped = f", {self.dropped:,} not compared while workers were busy" if self.dropped else ""
        lines = [f"  {one.name:<14}{one.state:<11}{one.text}" for one in self.findings]
        return "\n".join([f"{self.model} {self.version} {decided}", f"  {traffic}{dropped}", *lines])

    def as_json(self) -> dict[str, Any]:
        """Infinity, which JSON has not, is null."""
        content = asdict(self)
        for one in content["findings"]:
            if one["interval"] is not None:
                one["interval"] = [end if math.isfinite(end) else None for end in one["interval"]]
        return content


@dataclass
class Judge:
    """Adds up what the web service saw, over its restarts as well, and tests it."""

    limits: Limits
    live: int = 0
    answered: int = 0
    failed: int = 0
    compared: int = 0
    disagreed: int = 0
    dropped: int = 0
    ended_workers: int = 0
    without_worker: int = 0
    ratios: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        limits = self.limits
        self._instance = ""
        self._before = Counts()
        self._agreement = None if limits.max_disagreement is None else _test_of_share(limits.max_disagreement)
        self._latency = SequentialTest(PAIRS_BELOW, PAIRS_ABOVE)
        self._errors = _test_of_share(limits.max_error_rate)

    def observe(self, seen: Seen) -> None:
        """``seen`` counts from the start of its web service."""
        counts = seen.counts
        before = self._before if seen.instance == self._instance else Counts()
        self._instance, self._before = seen.instance, counts
        compared, disagreed = counts.compared - before.compared, counts.disagreed - before.disagreed
        answered, failed = counts.answered - before.answered, counts.failures - before.failures
        ratios = [candidate / max(stable, 1) for stable, candidate in counts.pairs[len(before.pairs) :]]
        longer = sum(ratio > self.limits.max_latency_ratio for ratio in ratios)
        if self._agreement is not None:
            self._agreement.observe(disagreed, compared - disagreed)
        self._latency.observe(longer, len(ratios) - longer)
        self._errors.observe(failed, answered)
        self.live += counts.live - before.live
        self.dropped += counts.dropped - before.dropped
        self.without_worker += sum(counts.failed.values()) - sum(before.failed.values()) - failed
        self.ended_workers += counts.ended_workers - before.ended_workers
        self.compared, self.disagreed = self.compared + compared, self.disagreed + disagreed
        self.answered, self.failed = self.answered + answered, self.failed + failed
        self.ratios += ratios

    def findings(self) -> tuple[Finding, ...]:
        return (self._found_answers(), self._found_times(), self._found_failures(), self._found_workers())

    def _found_answers(self) -> Finding:
        limit, name = self.limits.max_disagreement, "other answers"
        ends = wilson(self.disagreed, self.compared)
        text = f"{self.disagreed:,} of {self.compared:,} compared, {_share(self.disagreed, self.compared, ends)}"
        if limit is None or self._agreement is None:
            return Finding(
                name, "passed", f"{text}; they are intended", _ratio(self.disagreed, self.compared), ends, None
            )
        text = f"{text}; limit {_percent(limit)}"
        return Finding(name, self._agreement.state, text, _ratio(self.disagreed, self.compared), ends, limit)

    def _found_times(self) -> Finding:
        limit = self.limits.max_latency_ratio
        if not self.ratios:
            return Finding("time", self._latency.state, f"not measured yet; limit {limit:g} times", None, None, limit)
        middle, ends = median(self.ratios)
        times = f"{middle:.2f} times as long ({ends[0]:.2f} to {ends[1]:.2f})"
        text = f"{times} by {len(self.ratios):,} pairs; limit {limit:g}"
        return Finding("time", self._latency.state, text, middle, ends, limit)

    def _found_failures(self) -> Finding:
        tried, limit = self.answered + self.failed, self.limits.max_error_rate
        ends = wilson(self.failed, tried)
        text = f"{self.failed:,} of {tried:,}, {_share(self.failed, tried, ends)}; limit {_percent(limit)}"
        return Finding("failures", self._errors.state, text, _ratio(self.failed, tried), ends, limit)

    def _found_workers(self) -> Finding:
        limit = self.limits.max_ended_workers
        state: State = "failed" if self.ended_workers > limit else "passed"
        text = f"{self.ended_workers}, under or without which {self.without_worker:,} pictures were not answered"
        return Finding("workers ended", state, f"{text}; limit {limit}", self.ended_workers, None, limit)


def _test_of_share(limit: float) -> SequentialTest:
    return SequentialTest(limit / FACTOR, limit * FACTOR)


def _ratio(events: int, of: int) -> float | None:
    return events / of if of else None


def _share(events: int, of: int, ends: Interval) -> str:
    """With its interval."""
    return f"{_percent(events / of if of else 0.0)} ({_percent(ends[0])} to {_percent(ends[1])})"


def _percent(share: float) -> str:
    return f"{share * 100:.3g} %"
