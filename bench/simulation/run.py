"""One run: traffic against a fixed number of workers, or against the autoscaler's policy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bench.simulation.server import Machine, Server, ticks
from marserve.autoscale.capacity import Capacity
from marserve.autoscale.model import WatchedModel
from marserve.autoscale.rules import Rules

#: Seconds between two looks, as in the service.
INTERVAL_S = 1.0


@dataclass(frozen=True)
class Outcome:
    """How a run went."""

    requests: int
    refused: int
    wait_mean_s: float
    wait_p50_s: float
    wait_p99_s: float
    mean_workers: float
    most_workers: int
    changes: int


def run(arrivals: Iterable[float], machine: Machine, scaling: int | Rules, *, cores: int, seed: int = 18) -> Outcome:
    """``scaling`` is a fixed number of workers, or the rules to which the autoscaler holds on ``cores`` cores."""
    workers = most = scaling if isinstance(scaling, int) else scaling.minimum
    server = Server(machine, workers, seed)
    watched = WatchedModel(scaling) if isinstance(scaling, Rules) else None
    looks = ticks(INTERVAL_S)
    next_look = next(looks)
    changes = requests = 0
    for at_s in arrivals:
        while watched is not None and next_look <= at_s:
            server.advance(next_look)
            watched.add(server.look())
            decision = watched.decide(Capacity(cores, f"{cores} cores"))
            if decision is not None and decision.workers != workers:
                workers = decision.workers
                most = max(most, workers)
                changes += 1
                server.scale(workers)
                watched.changed(next_look, workers)
            next_look = next(looks)
        requests += 1
        server.arrive(at_s)
    results = server.results
    waits = sorted(results.waits_s)
    return Outcome(
        requests=requests,
        refused=results.refused,
        wait_mean_s=sum(waits) / len(waits) if waits else 0.0,
        wait_p50_s=_percentile(waits, 50),
        wait_p99_s=_percentile(waits, 99),
        mean_workers=results.worker_seconds / at_s if requests else 0.0,
        most_workers=most,
        changes=changes,
    )


def _percentile(rising: list[float], percent: int) -> float:
    return rising[min(len(rising) - 1, len(rising) * percent // 100)] if rising else 0.0
