"""How many are answered in time: by a queue alone, and by the dispatcher of the web service, in simulated time.

The dispatcher is the real one; its workers, the way to them and their times are simulated.
"""

from __future__ import annotations

import contextlib
import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from math import inf

from bench.all_knowing import most_in_time
from bench.simulation.server import SimulatedMachine
from marserve.web.dispatch.dispatcher import Dispatcher
from marserve.web.dispatch.jobs import Job
from marserve.web.dispatch.urgency import Urgency
from marserve.web.dispatch.worker_capacity import WorkerCapacity
from marserve.web.errors import WouldBeLate

#: Seconds from the dispatcher to a worker and back, besides the worker's own.
WAY_S = 0.001
#: Of a picture, for the dispatcher's guess of its work.
PICTURE_BYTES = 110_000
GROUP_BYTES = 4_000_000


@dataclass(frozen=True)
class InTime:
    """Of ``requests``, and how late the last of those was that were accepted and late."""

    requests: int
    by_queue: int
    by_dispatcher: int
    all_knowing: int
    refused: int
    late: int
    worst_late_s: float


def compare(
    arrivals: Sequence[float], machine: SimulatedMachine, *, workers: int, deadline_s: float, seed: int
) -> InTime:
    """All ``arrivals`` (rising seconds) with the same deadline, three ways."""
    by_queue = queued(arrivals, machine, workers, seed)
    by_dispatcher = dispatched(arrivals, machine, workers, deadline_s, seed)
    late = [took - deadline_s for took in by_dispatcher if took is not None and took > deadline_s]
    answered = sum(took is not None for took in by_dispatcher)
    return InTime(
        requests=len(arrivals),
        by_queue=sum(took <= deadline_s for took in by_queue),
        by_dispatcher=answered - len(late),
        all_knowing=most_in_time(arrivals, deadline_s - WAY_S, workers / capacity_per_s(machine, workers), workers),
        refused=len(arrivals) - answered,
        late=len(late),
        worst_late_s=max(late, default=0.0),
    )


def capacity_per_s(machine: SimulatedMachine, workers: int) -> float:
    """Requests a second with full batches."""
    return workers * machine.batch_size / _group_s(machine, machine.batch_size)


def queued(arrivals: Sequence[float], machine: SimulatedMachine, workers: int, seed: int) -> list[float]:
    """Seconds that each takes in one queue of any length; a free worker takes what waits, up to a batch."""
    source = random.Random(seed)  # noqa: S311 - a simulation, which must repeat
    free_at = [0.0] * workers
    took: list[float] = []
    while len(took) < len(arrivals):
        first = len(took)
        start = max(free_at[0], arrivals[first] + WAY_S / 2)
        batch = [at for at in arrivals[first : first + machine.batch_size] if at + WAY_S / 2 <= start]
        done = start + _group_s(machine, len(batch)) * _noise(machine, source)
        heapq.heapreplace(free_at, done)
        took += [done + WAY_S / 2 - at for at in batch]
    return took


def dispatched(
    arrivals: Sequence[float], machine: SimulatedMachine, workers: int, deadline_s: float, seed: int
) -> list[float | None]:
    """Seconds that each takes with the dispatcher; None for what was refused or dropped."""
    return _Dispatched(arrivals, machine, workers, deadline_s, seed).run()


class _Dispatched:
    """The events of one run; ``took`` is None for what was refused or dropped."""

    def __init__(
        self, arrivals: Sequence[float], machine: SimulatedMachine, workers: int, deadline_s: float, seed: int
    ) -> None:
        self._arrivals = arrivals
        self._machine = machine
        self._deadline_s = deadline_s
        self._source = random.Random(seed)  # noqa: S311
        self._free_at = [0.0] * workers
        self._took: list[float | None] = [None] * len(arrivals)
        self._dispatcher = Dispatcher(max_group_bytes=GROUP_BYTES, on_drop=lambda *_: None)
        self._dispatcher.capacity = WorkerCapacity(workers, machine.batch_size, reads_groups=True)
        self._order = count()
        self._events: list[tuple[float, int, Callable[[float], None]]] = []

    def run(self) -> list[float | None]:
        """Seconds that each takes."""
        for number, at in enumerate(self._arrivals):
            self._at(at, partial(self._arrive, number))
        while self._events:
            now, _, event = heapq.heappop(self._events)
            event(now)
            while (group := self._dispatcher.take(now)) is not None:
                worker_s = _group_s(self._machine, len(group.jobs)) * _noise(self._machine, self._source)
                done = max(self._free_at[0], now + WAY_S / 2) + worker_s
                heapq.heapreplace(self._free_at, done)
                self._at(done + WAY_S / 2, partial(self._dispatcher.finish, group, worker_s=worker_s))
                self._at(done + WAY_S / 2, partial(self._note_answers, group.jobs))
            if self._dispatcher.wake_at < inf:
                self._at(self._dispatcher.wake_at, lambda _: None)
        return self._took

    def _at(self, at: float, event: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (at, next(self._order), event))

    def _arrive(self, number: int, now: float) -> None:
        job = Job(number, PICTURE_BYTES)
        with contextlib.suppress(WouldBeLate):
            self._dispatcher.submit(job, Urgency("everybody", now + self._deadline_s), now)

    def _note_answers(self, jobs: Sequence[Job], now: float) -> None:
        for job in jobs:
            self._took[job.content] = now - self._arrivals[job.content]


def _group_s(machine: SimulatedMachine, pictures: int) -> float:
    return machine.batch_s + machine.picture_s * pictures


def _noise(machine: SimulatedMachine, source: random.Random) -> float:
    return max(0.2, source.gauss(1.0, machine.spread))
