"""A stack with one model, as far as waiting is concerned, and how it fares with fixed or autoscaled workers.

A queue in the web service, groups of what waits, one of them at hand in TorchServe, workers that take time to start;
everything happens by discrete events.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count

from marserve.autoscale.autoscaler import ModelSample, WatchedModel
from marserve.autoscale.observation import WebCounters
from marserve.autoscale.policy import Capacity
from marserve.autoscale.rules import Rules
from marserve.torchserve.metrics import Counters

#: Seconds between two samples, as in the service.
INTERVAL_S = 1.0


@dataclass(frozen=True)
class SimulatedMachine:
    """How long things take; docs/autoscaling.md says which of the defaults were measured."""

    batch_size: int = 8
    #: Pictures at once, waiting or at work; more are refused, as by the web service.
    max_in_flight: int = 128
    #: Seconds of a batch, whatever its size, and of each picture in it.
    batch_s: float = 0.002
    picture_s: float = 0.015
    #: Relative standard deviation of a batch's time.
    spread: float = 0.1
    #: Seconds until a new worker takes work.
    start_s: float = 1.0


@dataclass
class Results:
    """What a run ended with."""

    waits_s: list[float] = field(default_factory=list)
    refused: int = 0
    #: Workers times the seconds for which they were there, starting ones included.
    worker_seconds: float = 0.0


@dataclass(frozen=True)
class SimulationOutcome:
    """How a run went."""

    requests: int
    refused: int
    wait_mean_s: float
    wait_p50_s: float
    wait_p99_s: float
    mean_workers: float
    most_workers: int
    changes: int


class SimulatedServer:
    """Processes events in the order of their time; ``now`` only goes forward."""

    def __init__(self, machine: SimulatedMachine, workers: int, seed: int) -> None:
        self.results = Results()
        self._machine = machine
        self._source = random.Random(seed)  # noqa: S311 - a simulation, which must repeat
        self._now = 0.0
        #: When those arrived that wait in the web service, and those of each group that waits in TorchServe.
        self._waiting: deque[float] = deque()
        self._at_hand: deque[_Group] = deque()
        self._wanted = workers
        self._ready = workers
        self._at_work = 0
        self._in_flight = 0
        # At the web service: sent, and how long those had waited.
        self._sent = 0
        self._sent_waited_s = 0.0
        # At TorchServe: groups that came, that were answered, their pictures, and how long they waited and took.
        self._groups_arrived = self._groups_answered = self._answered = 0
        self._waited_s = self._worked_s = 0.0
        #: Time, a number that keeps the order of equal times, and the group that is done; None: a worker is ready.
        self._events: list[tuple[float, int, _Group | None]] = []
        self._numbers = count()

    def arrive(self, at_s: float) -> None:
        """One request."""
        self.advance(at_s)
        if self._in_flight >= self._machine.max_in_flight:
            self.results.refused += 1
            return
        self._in_flight += 1
        self._waiting.append(at_s)
        self._begin()

    def scale(self, workers: int) -> None:
        """Start workers, or end some: busy ones when their batch is done."""
        for _ in range(workers - self._wanted):
            heapq.heappush(self._events, (self._now + self._machine.start_s, next(self._numbers), None))
        self._wanted = workers
        self._ready = min(self._ready, workers)

    def advance(self, to_s: float) -> None:
        """Let everything happen until ``to_s``."""
        while self._events and self._events[0][0] <= to_s:
            at_s, _, group = heapq.heappop(self._events)
            self._pass(at_s)
            if group is None:
                self._ready = min(self._ready + 1, self._wanted)
            else:
                self._at_work -= 1
                self._in_flight -= len(group.arrived_s)
                self._groups_answered += 1
                self._answered += len(group.arrived_s)
                self._waited_s += group.began_s - group.sent_s
                self._worked_s += at_s - group.began_s
            self._begin()
        self._pass(to_s)

    def sample(self) -> ModelSample:
        """What both servers report now: as there, a group counts when it is done."""
        torchserve = Counters(
            self._groups_arrived, self._groups_answered, self._waited_s, self._worked_s, self._answered
        )
        web = WebCounters(self._sent, self._sent_waited_s, all_models=self._sent, rejected=float(self.results.refused))
        queued, waiting = len(self._at_hand), len(self._waiting)
        return ModelSample(self._now, torchserve, self._wanted, self._ready, queued, web, waiting)

    def _begin(self) -> None:
        # Whatever waits goes together: a group for each worker, and the next one at hand.
        while self._waiting and self._at_work + len(self._at_hand) <= self._ready:
            arrived = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._machine.batch_size))]
            self._at_hand.append(_Group(arrived, self._now))
            self._groups_arrived += 1
            self._sent += len(arrived)
            self._sent_waited_s += sum(self._now - at_s for at_s in arrived)
            self._start()
        self._start()

    def _start(self) -> None:
        while self._at_hand and self._at_work < self._ready:
            group = self._at_hand.popleft()
            group.began_s = self._now
            self.results.waits_s += [self._now - at_s for at_s in group.arrived_s]
            usual_s = self._machine.batch_s + self._machine.picture_s * len(group.arrived_s)
            seconds = usual_s * max(0.2, self._source.gauss(1.0, self._machine.spread))
            self._at_work += 1
            heapq.heappush(self._events, (self._now + seconds, next(self._numbers), group))

    def _pass(self, to_s: float) -> None:
        self.results.worker_seconds += (to_s - self._now) * self._wanted
        self._now = to_s


@dataclass
class _Group:
    arrived_s: list[float]
    sent_s: float
    began_s: float = 0.0


def simulate(
    arrivals: Iterable[float], machine: SimulatedMachine, scaling: int | Rules, *, cores: int, seed: int = 18
) -> SimulationOutcome:
    """``scaling`` is a fixed number of workers, or the rules to which the autoscaler holds on ``cores`` cores."""
    workers = most = scaling if isinstance(scaling, int) else scaling.minimum
    server = SimulatedServer(machine, workers, seed)
    watched = WatchedModel(scaling) if isinstance(scaling, Rules) else None
    samples = _ticks(INTERVAL_S)
    next_sample_s = next(samples)
    changes = requests = 0
    for at_s in arrivals:
        while watched is not None and next_sample_s <= at_s:
            server.advance(next_sample_s)
            watched.add(server.sample())
            decision = watched.decide(Capacity(cores, f"{cores} cores"))
            if decision is not None and decision.workers != workers:
                workers = decision.workers
                most = max(most, workers)
                changes += 1
                server.scale(workers)
                watched.changed(next_sample_s, workers)
            next_sample_s = next(samples)
        requests += 1
        server.arrive(at_s)
    results = server.results
    waits = sorted(results.waits_s)
    return SimulationOutcome(
        requests=requests,
        refused=results.refused,
        wait_mean_s=sum(waits) / len(waits) if waits else 0.0,
        wait_p50_s=_percentile(waits, 50),
        wait_p99_s=_percentile(waits, 99),
        mean_workers=results.worker_seconds / at_s if requests else 0.0,
        most_workers=most,
        changes=changes,
    )


def _ticks(interval_s: float) -> Iterator[float]:
    """Multiples of ``interval_s``, without the sum of their errors."""
    return (number * interval_s for number in count(1))


def _percentile(rising: list[float], percent: int) -> float:
    return rising[min(len(rising) - 1, len(rising) * percent // 100)] if rising else 0.0
