"""Workers and callers in simulated time around the dispatcher; TorchServe between them is as its code is."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from marserve.web.dispatch.dispatcher import Dispatcher
from marserve.web.dispatch.jobs import Group, Job, Reason
from marserve.web.dispatch.urgency import Urgency
from marserve.web.dispatch.worker_capacity import WorkerCapacity
from marserve.web.errors import WouldBeLate


@dataclass
class Picture:
    """What a caller sends, and what became of it."""

    arrives_at: float
    deadline_s: float = 10.0
    caller: str = "a"
    is_bulk: bool = False
    size_bytes: int = 100_000
    #: When the caller leaves; infinity: it stays.
    leaves_at: float = float("inf")
    #: Ends the worker that works on it.
    kills: bool = False
    goes_alone: bool = False
    sent_at: float | None = None
    answered_at: float | None = None
    #: ``refused`` at once, dropped with a reason, or ``killed`` too many workers.
    refusal: Reason | str | None = None

    @property
    def in_time(self) -> bool:
        return self.answered_at is not None and self.answered_at <= self.arrives_at + self.deadline_s

    @property
    def took_s(self) -> float:
        assert self.answered_at is not None
        return self.answered_at - self.arrives_at


@dataclass
class Workers:
    """Of TorchServe, and what they need."""

    count: int = 2
    batch_size: int = 8
    #: Of a group, and of each of its units of work, while one worker of ``count`` is busy or all are.
    group_s: float = 0.001
    unit_s: float = 0.003
    #: Standard deviation of the time, as a share of it.
    noise: float = 0.0
    #: From sending to TorchServe's queue, and back.
    way_s: float = 0.001
    batch_delay_s: float = 0.001
    reads_groups: bool = True
    restart_s: float = 4.0


@dataclass
class Simulation:
    workers: Workers
    pictures: Iterable[Picture]
    seed: int = 1
    max_group_bytes: int = 4_000_000
    #: (time, number of workers)
    scaling: list[tuple[float, int]] = field(default_factory=list)
    #: Called after each event.
    check: Callable[[Simulation], None] = lambda _: None
    #: What the dispatcher is told of READY workers trails the truth by so much.
    catalogue_s: float = 0.0
    #: How many workers the dispatcher knows of; None: all.
    told: int | None = None
    #: Whether what comes at one time is in the queue before anything of it is sent.
    together: bool = False

    def run(self) -> Simulation:
        self._random = random.Random(self.seed)  # noqa: S311
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.dispatcher = Dispatcher(max_group_bytes=self.max_group_bytes, on_drop=self._drop)
        self.groups: list[Group] = []
        #: The batches that workers computed, as the groups in each.
        self.batches: list[list[Group]] = []
        self._queue: deque[Group] = deque()
        self._idle = self.workers.count
        self._busy = 0
        self._to_go = 0
        #: Gathers jobs, one worker at a time.
        self._gathering: list[Group] | None = None
        self.errors: list[WouldBeLate] = []
        self._tell(self.workers.count)
        for picture in self.pictures:
            self._at(picture.arrives_at, partial(self._arrive, picture))
        for at, count in self.scaling:
            self._at(at, partial(self._scale, count))
        while self._events:
            self.now, _, event = heapq.heappop(self._events)
            event()
            if self.together and self._events and self._events[0][0] == self.now:
                continue
            self._pump()
            self.check(self)
        return self

    @property
    def idle_workers(self) -> int:
        """With nothing on the way to them."""
        return max(self._idle + self._busy - len(self.dispatcher.on_way), 0)

    def _at(self, at: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (at, next(self._order), event))

    def _tell(self, count: int) -> None:
        self.dispatcher.capacity = WorkerCapacity(
            count if self.told is None else self.told,
            self.workers.batch_size,
            self.workers.reads_groups,
            self.workers.batch_delay_s,
        )

    def _scale(self, count: int) -> None:
        change = count - (self._idle + self._busy - self._to_go)
        if change > 0:
            self._idle += change
        else:
            gone = min(self._idle, -change)
            self._idle -= gone
            self._to_go += -change - gone
        self._at(self.now + self.catalogue_s, partial(self._tell, count))
        self._take()

    def _arrive(self, picture: Picture) -> None:
        job = Job(picture, picture.size_bytes, goes_alone=picture.goes_alone)
        give_up = picture.arrives_at + picture.deadline_s
        urgency = Urgency(picture.caller, give_up, picture.is_bulk, lambda: self.now >= picture.leaves_at)
        try:
            self.dispatcher.submit(job, urgency, self.now)
        except WouldBeLate as error:
            self.errors.append(error)
            picture.refusal = "refused"

    def _drop(self, job: Job, reason: Reason, late_s: float) -> None:  # noqa: ARG002
        picture = job.content
        assert picture.refusal is None
        assert picture.answered_at is None
        picture.refusal = reason

    def _pump(self) -> None:
        while (group := self.dispatcher.take(self.now)) is not None:
            self.groups.append(group)
            for job in group.jobs:
                picture = job.content
                assert picture.sent_at is None or job.deaths
                assert self.now < picture.arrives_at + picture.deadline_s
                assert self.now < picture.leaves_at
                picture.sent_at = self.now
            self._at(self.now + self.workers.way_s / 2, partial(self._enqueue, group))
        if self.dispatcher.wake_at < float("inf"):
            assert self.dispatcher.wake_at > self.now
            self._at(self.dispatcher.wake_at, lambda: None)

    def _enqueue(self, group: Group) -> None:
        self._queue.append(group)
        self._take()

    def _take(self) -> None:
        """As a worker of TorchServe: the first job, and what more there is within the batch delay."""
        if self._gathering is None and self._queue and self._idle:
            self._idle -= 1
            self._busy += 1
            self._gathering = [self._queue.popleft()]
            if self.workers.batch_size > 1:
                self._at(self.now + self.workers.batch_delay_s, self._compute)
        if self._gathering is None:
            return
        while self._queue and len(self._gathering) < self.workers.batch_size:
            self._gathering.append(self._queue.popleft())
        if len(self._gathering) == self.workers.batch_size:
            self._compute()

    def _compute(self) -> None:
        batch, self._gathering = self._gathering, None
        if not batch:
            return
        self.batches.append(batch)
        units = sum(group.units for group in batch)
        share = self._busy / max(self._busy + self._idle, 1)
        took_s = (self.workers.group_s + units * self.workers.unit_s * share) * max(
            self._random.gauss(1, self.workers.noise), 0.3
        )
        if any(job.content.kills for group in batch for job in group.jobs):
            self._at(self.now + took_s, lambda: self._die(batch))
        else:
            self._at(self.now + took_s, lambda: self._complete(batch, took_s))
        self._take()

    def _release(self) -> None:
        self._busy -= 1
        if self._to_go:
            self._to_go -= 1
        else:
            self._idle += 1

    def _complete(self, batch: list[Group], took_s: float) -> None:
        self._release()
        for group in batch:
            self._at(self.now + self.workers.way_s / 2, partial(self._answer, group, took_s))
        self._take()

    def _answer(self, group: Group, took_s: float) -> None:
        self.dispatcher.finish(group, self.now, took_s if self.workers.reads_groups else None)
        for job in group.jobs:
            job.content.answered_at = self.now

    def _die(self, batch: list[Group]) -> None:
        self._busy -= 1
        ready = self._idle + self._busy
        self._at(self.now + self.workers.restart_s, self._restart)
        for group in batch:
            for job in self.dispatcher.retry(group, self.now):
                job.content.refusal = "killed"
        self._at(self.now + self.catalogue_s, partial(self._tell, ready))

    def _restart(self) -> None:
        self._idle += 1
        self._tell(self._idle + self._busy)
        self._take()


def poisson(rate: float, seconds: float, seed: int = 1, **fields: object) -> list[Picture]:
    return gamma(rate, seconds, 1.0, seed, **fields)


def gamma(rate: float, seconds: float, variation: float, seed: int = 1, **fields: object) -> list[Picture]:
    """Arrivals with gaps of this coefficient of variation: 1 is Poisson."""
    chance = random.Random(seed)  # noqa: S311
    shape = 1 / variation**2
    at, pictures = 0.0, []
    while (at := at + chance.gammavariate(shape, 1 / (rate * shape))) < seconds:
        pictures.append(Picture(at, **fields))  # type: ignore[arg-type]
    return pictures
