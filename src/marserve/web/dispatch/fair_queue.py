"""What waits, in the order in which callers share: start-time fair queueing, within it the earliest deadline first."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterator

from marserve.web.dispatch.jobs import Job
from marserve.web.dispatch.urgency import Urgency


class _Caller:
    __slots__ = ("jobs", "served", "units")

    def __init__(self, served: float) -> None:
        #: A heap: the earliest deadline first, then the one that came first.
        self.jobs: list[tuple[float, int, Job]] = []
        #: Units that it was served, counted from the least that anybody who waited was served when it came.
        self.served = served
        #: Units that wait.
        self.units = 0.0

    def first(self, queue: FairQueue) -> tuple[float, int, Job] | None:
        """The job to be served next; those that are not in ``queue`` any more are forgotten."""
        while self.jobs and self.jobs[0][2].queue is not queue:
            self.units -= heapq.heappop(self.jobs)[2].units
        return self.jobs[0] if self.jobs else None


class FairQueue:
    """Jobs of many callers.

    Of callers who always have something waiting, none is served more than a quantum and one job ahead of another
    (start-time fair queueing, Goyal, Vin and Cheng 1996). Among those within it the earliest deadline goes first.
    """

    def __init__(self) -> None:
        self._callers: dict[str, _Caller] = {}
        self._order = itertools.count()
        #: The least that a caller who waits was served.
        self._least = 0.0
        #: How many jobs wait.
        self.length = 0
        #: How much work they are.
        self.units = 0.0

    def push(self, job: Job, urgency: Urgency) -> None:
        """Have ``job`` wait, or, where it waits already, wait no longer than it would if it came only now."""
        caller = self._callers.get(urgency.caller)
        if caller is None:
            caller = self._callers[urgency.caller] = _Caller(self._least)
        elif caller.first(self) is None:
            # Time in which it wanted nothing is not saved up.
            caller.served = max(caller.served, self._least)
        heapq.heappush(caller.jobs, (urgency.give_up, next(self._order), job))
        caller.units += job.units
        if job.queue is not self:
            job.queue = self
            self.length += 1
            self.units += job.units

    def remove(self, job: Job) -> None:
        """Forget ``job``, which waits here."""
        job.queue = None
        self.length -= 1
        self.units -= job.units
        if not self.length:
            self._callers.clear()
            self._least = self.units = 0.0

    def in_turn(self, quantum: float) -> Iterator[Job]:
        """What waits, in the order in which it is to be served now.

        Of a caller who alone waits it is ``quantum`` units, of each of several one job; all if ``quantum`` is infinite.

        Whoever iterates removes each job that it sends or drops, and ends the iteration at the first that it keeps.
        """
        active = []
        for name, caller in list(self._callers.items()):
            if caller.first(self) is not None:
                active.append(caller)
            elif caller.served <= self._least:
                del self._callers[name]
        self._least = least = min((caller.served for caller in active), default=self._least)
        turns = [(*caller.jobs[0][:2], caller) for caller in active if caller.served < least + quantum]
        heapq.heapify(turns)
        while turns:
            caller = turns[0][2]
            job = caller.jobs[0][2]
            yield job
            if job.queue is self:
                return
            has_had_its_turn = False
            if job.is_sent:
                caller.served += job.units
                has_had_its_turn = caller.served >= least + quantum or (len(active) > 1 and quantum < math.inf)
            first = caller.first(self)
            if first is not None and not has_had_its_turn:
                heapq.heapreplace(turns, (*first[:2], caller))
            else:
                heapq.heappop(turns)

    def units_before(self, urgency: Urgency, quantum: float) -> float:
        """Units that are served before a job that comes now; what other callers have beyond their share comes after."""
        own = self._callers.get(urgency.caller)
        earlier = 0.0
        if own is not None:
            earlier = sum(job.units for give_up, _, job in own.jobs if job.queue is self and give_up <= urgency.give_up)
        share = earlier + quantum
        return earlier + sum(min(caller.units, share) for caller in self._callers.values() if caller is not own)
