"""What callers feel: the highest rate at which nearly all are answered in time, and what is answered of bursts.

The arrivals are an open loop (``open_loop.py``): they come at their own times, however the server fares.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import truediv
from pathlib import Path
from typing import Any

from bench.all_knowing import most_in_time
from bench.measurements import Journal, Record, Served, Spread, Summary
from bench.open_loop import run_open_loop
from bench.target import Target
from marserve.handler.resnet18.cpu import usable_cores
from marserve.plan.arrivals import ArrivalProcess
from marserve.plan.load import OpenLoad
from marserve.terminal import say

#: Milliseconds from when a request was due to its answer: a page that feels immediate, and one that feels quick.
LIMITS_MS = (100, 250)
#: Of all requests; refusals and failures are not in time.
SHARE = 0.99
#: Rates are tried on one scale, whose steps are 4 % apart: servers and rounds meet at the same ones.
STEP = 1.04
LOWEST_PER_S = 2.0
STEPS = 240
#: Where the first search begins, of the throughput at 32 clients, and what none goes below: runs there last minutes.
FIRST_SHARE, LOWEST_SHARE = 0.7, 0.1
#: A run in which the generator itself was late is made again so often.
ATTEMPTS = 2
#: The bursts: Gamma arrivals of this variation, at this share of the server's own throughput, all with this deadline.
BURSTS = ArrivalProcess("gamma-4", 4.0)
BURST_LOAD = 0.85
BURST_DEADLINE_MS = 100
#: Kinds of records.
RUN, HELD, BURST = "open loop", "held rate", "bursts"


def rate_of(step: int) -> float:
    """Requests a second at ``step`` of the scale."""
    return round(LOWEST_PER_S * STEP**step, 1)


def step_of(per_second: float) -> int:
    """The step of the scale that is next to ``per_second``."""
    return min(range(STEPS), key=lambda step: abs(rate_of(step) - per_second))


def highest_held(is_held: Callable[[int], bool], start: int, lowest: int = 0) -> int | None:
    """The highest step that is held, with the next one not: in doubling strides from ``start``, then by halves.

    None where ``lowest`` is not held either. Where noise lets a step pass above one that failed, it may be either.
    """
    held, failed, stride = lowest - 1, STEPS, 1
    step = min(max(start, lowest), STEPS - 1)
    while failed - held > 1:
        if is_held(step):
            held = step
            step = min(held + stride, failed - 1) if failed == STEPS else (held + failed) // 2
        else:
            failed = step
            step = max(failed - stride, lowest) if held < lowest else (held + failed) // 2
        stride *= 2
    return None if held < lowest else held


@dataclass(frozen=True)
class Measured:
    """The server at one level, as records name it, and where its pictures are."""

    #: ``candidate``, ``server``, ``title`` and ``ours``, as in the records of loads.
    fields: dict[str, Any]
    target: Target
    requests: Path
    #: Answers a second at 32 clients, in this visit.
    capacity_per_s: float
    round_number: int

    @property
    def key(self) -> str:
        return str(self.fields["candidate"])


class Rates:
    """The searches and bursts of one campaign; ``settle`` waits until a server has nothing left to do."""

    def __init__(self, journal: Journal, arrivals: Sequence[ArrivalProcess], count: int) -> None:
        self._journal = journal
        self._arrivals = arrivals
        self._count = count

    def are_searched(self, key: str, round_number: int) -> bool:
        """Whether every search of this round was made."""
        return all(self._is_searched(key, round_number, process) for process in self._arrivals)

    def has_bursts(self, key: str, round_number: int) -> bool:
        """Whether those of this round were sent."""
        return self._journal.has(
            BURST, candidate=key, round=round_number, arrivals=BURSTS.name, limit_ms=BURST_DEADLINE_MS
        )

    def _is_searched(self, key: str, round_number: int, process: ArrivalProcess) -> bool:
        found = {"candidate": key, "round": round_number, "arrivals": process.name}
        return all(self._journal.has(HELD, **found, limit_ms=limit) for limit in LIMITS_MS)

    def search(self, measured: Measured, settle: Callable[[], None]) -> None:
        """The highest rate for every kind of arrivals and limit."""
        for process in self._arrivals:
            if not self._is_searched(measured.key, measured.round_number, process):
                self._search(measured, process, settle)

    def _search(self, measured: Measured, process: ArrivalProcess, settle: Callable[[], None]) -> None:
        runs: dict[tuple[int, int | None], dict[str, Any]] = {}

        def is_held(step: int, limit: int) -> bool:
            # A caller who cannot use a later answer says so to a server that reads it; to others all limits are one.
            deadline = limit if measured.target.takes_deadlines else None
            if (step, deadline) not in runs:
                runs[step, deadline] = self._run(measured, process, rate_of(step), deadline)
                settle()
            run = runs[step, deadline]
            return bool(run["in_time"][str(limit)] >= SHARE * run["requests"])

        start = self._first_step(measured, process)
        lowest = step_of(LOWEST_SHARE * measured.capacity_per_s)
        for limit in LIMITS_MS:
            found = highest_held(partial(is_held, limit=limit), start, lowest)
            per_second = 0.0 if found is None else rate_of(found)
            self._journal.add(
                HELD, **measured.fields, round=measured.round_number, arrivals=process.name, limit_ms=limit,
                per_second=per_second, requests=self._count, valid=all(run["valid"] for run in runs.values()),
            )  # fmt: skip
            say(f"  {process.name}: {per_second:.0f}/s within {limit} ms")
            start = found or start

    def bursts(self, measured: Measured, settle: Callable[[], None]) -> None:
        """What is answered in time of bursts near capacity, beside what an all-knowing scheduler could."""
        rate = BURST_LOAD * measured.capacity_per_s
        deadline = BURST_DEADLINE_MS if measured.target.takes_deadlines else None
        load = self._load(measured, BURSTS, rate, deadline)
        settle()
        # One for a GPU, which computes one batch at a time.
        workers = 1 if measured.fields["device"] == "gpu" else usable_cores()
        latencies = load.latencies_ms()
        late = [latency for latency in latencies if latency > BURST_DEADLINE_MS]
        in_time = len(latencies) - len(late)
        # No scheduler can spend less on a picture than the server does with full batches and no idle moment.
        best = most_in_time(load.sent, BURST_DEADLINE_MS / 1e3, workers / measured.capacity_per_s, workers)
        self._journal.add(
            BURST, **measured.fields, round=measured.round_number, arrivals=BURSTS.name, per_second=rate,
            capacity=measured.capacity_per_s, limit_ms=BURST_DEADLINE_MS, takes_deadlines=deadline is not None,
            all_knowing=best, late=len(late), worst_late_ms=max(late, default=BURST_DEADLINE_MS) - BURST_DEADLINE_MS,
            **_counts(load),
        )  # fmt: skip
        say(f"  bursts at {rate:.0f}/s: {in_time / len(load.due):.1%} in time, at best {best / len(load.due):.1%}")

    def _first_step(self, measured: Measured, process: ArrivalProcess) -> int:
        """That of the round before; else a guess."""
        for record in reversed(self._journal.records):
            if record["kind"] == HELD and (record["candidate"], record["arrivals"], record["limit_ms"]) == (
                measured.key, process.name, LIMITS_MS[0],
            ):  # fmt: skip
                return step_of(record["per_second"])
        return step_of(FIRST_SHARE * measured.capacity_per_s)

    def _run(
        self, measured: Measured, process: ArrivalProcess, per_second: float, deadline_ms: int | None
    ) -> dict[str, Any]:
        load = self._load(measured, process, per_second, deadline_ms)
        return self._journal.add(
            RUN, **measured.fields, round=measured.round_number, arrivals=process.name, rate=per_second,
            limit_ms=deadline_ms, **_counts(load),
        )  # fmt: skip

    def _load(
        self, measured: Measured, process: ArrivalProcess, per_second: float, deadline_ms: int | None
    ) -> OpenLoad:
        due = process.times(self._count, per_second, measured.round_number)
        first = measured.round_number * 37
        for _ in range(ATTEMPTS):
            load = run_open_loop(measured.target, measured.requests, due, first=first, deadline_ms=deadline_ms)
            if load.is_valid:
                break
        return load


def _counts(load: OpenLoad) -> dict[str, Any]:
    latencies = load.latencies_ms()
    return {
        "requests": len(load.due),
        "seconds": load.seconds,
        "in_time": {str(limit): load.within(limit) for limit in LIMITS_MS},
        "refused": sum(status == 503 for status in load.status),
        "errors": sum(status not in (0, 200, 503) for status in load.status),
        "failures": dict(load.failures),
        "p50_ms": latencies[len(latencies) // 2] if latencies else None,
        "p99_ms": latencies[min(len(latencies) - 1, len(latencies) * 99 // 100)] if latencies else None,
        "lag_p99_ms": load.lag_p99_ms,
        # What the generator was late counts against the server; the report says where it was more than the bound.
        "valid": load.is_valid,
        "generator_cpu_s": load.cpu_s,
        "connections": load.connections,
    }


@dataclass(frozen=True)
class Held:
    """The highest rate of one server with one kind of arrivals and one limit; 0 is none."""

    one: Served
    arrivals: str
    limit_ms: int
    per_second: Spread
    #: Whether the generator was on time in every run of the searches.
    valid: bool


@dataclass(frozen=True)
class Bursts:
    """Of one server, shares of all requests: answered in time, and what an all-knowing scheduler could have."""

    one: Served
    per_second: Spread
    takes_deadlines: bool
    in_time: Spread
    all_knowing: Spread
    #: Of what the all-knowing scheduler could.
    of_all_knowing: Spread
    refused: Spread
    #: Any other error, and no answer at all.
    failed: Spread
    #: Answered with status 200, but too late; and the latest of them, in milliseconds.
    late: int
    worst_late_ms: float


def held_rates(summary: Summary) -> list[Held]:
    """Of all searches, highest first."""
    compared = {one.key: one for one in summary.at()}
    groups: dict[tuple[str, str, int], list[Record]] = {}
    for record in summary.of_kind(HELD):
        groups.setdefault((record["candidate"], record["arrivals"], record["limit_ms"]), []).append(record)
    found = [
        Held(
            compared[key], arrivals, limit_ms, Spread.of(record["per_second"] for record in group),
            all(record["valid"] for record in group),
        )
        for (key, arrivals, limit_ms), group in groups.items()
        if key in compared
    ]  # fmt: skip
    return sorted(found, key=lambda held: -held.per_second.median)


def reached(summary: Summary) -> list[Bursts]:
    """What was answered of the bursts, best first."""
    compared = {one.key: one for one in summary.at()}
    groups: dict[str, list[Record]] = {}
    for record in summary.of_kind(BURST):
        groups.setdefault(record["candidate"], []).append(record)
    found = []
    for key, group in groups.items():
        if key not in compared:  # it computes on another device
            continue
        in_time = [record["in_time"][str(record["limit_ms"])] for record in group]
        requests = [record["requests"] for record in group]
        best = [record["all_knowing"] for record in group]
        found.append(
            Bursts(
                compared[key], Spread.of(record["per_second"] for record in group),
                group[0]["takes_deadlines"],
                Spread.of(map(truediv, in_time, requests)), Spread.of(map(truediv, best, requests)),
                Spread.of(map(truediv, in_time, best)),
                Spread.of(record["refused"] / record["requests"] for record in group),
                Spread.of((one["errors"] + sum(one["failures"].values())) / one["requests"] for one in group),
                sum(record["late"] for record in group), max(record["worst_late_ms"] for record in group),
            )
        )  # fmt: skip
    return sorted(found, key=lambda bursts: -bursts.of_all_knowing.median)
