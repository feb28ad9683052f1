"""What the workers of one version of a model are given, and when: no clock, no event loop and no network in it.

Whoever drives it calls ``take`` until that answers None, whenever something has changed: a job was submitted, a group
was answered, the workers are others, or ``wake_at`` has come.
"""

from __future__ import annotations

import math

from marserve.web.dispatch.fair_queue import FairQueue
from marserve.web.dispatch.jobs import Group, Job, OnDrop, Reason
from marserve.web.dispatch.retries import Retries
from marserve.web.dispatch.service_times import GroupTimes, ServiceTimes
from marserve.web.dispatch.urgency import Urgency
from marserve.web.dispatch.worker_capacity import WorkerCapacity
from marserve.web.errors import WouldBeLate

#: Seconds since two callers last took turns in which the groups of each are kept short, so that a flood of one delays
#: the others by little.
SHARED_S = 10.0
#: Units of one caller in a group while others are about.
QUANTUM = 2.0
#: Average errors of the service times that a picture must be early by.
MARGIN = 2.0
#: Seconds beyond which nothing is learnt from an answer without the worker's own time: perhaps there was no worker.
MAX_UNTOLD_S = 1.0


class Dispatcher:
    def __init__(self, *, max_group_bytes: int, on_drop: OnDrop) -> None:
        """``max_group_bytes`` bounds the pictures of a group together; a larger picture goes alone.

        ``on_drop`` is called with each job that had to wait and will not be sent.
        """
        self.capacity = WorkerCapacity()
        self.times = ServiceTimes()
        self.on_way: list[Group] = []
        #: When to call ``take`` though nothing has happened; infinity where there is no such time.
        self.wake_at = math.inf
        self._max_group_bytes = max_group_bytes
        self._on_drop = on_drop
        self._interactive, self._bulk = FairQueue(), FairQueue()
        self._retries = Retries(on_drop)
        self._latest_caller: str | None = None
        self._shared_at = self._sent_at = self._finished_at = -math.inf

    @property
    def is_idle(self) -> bool:
        return not self.waiting and not self.on_way

    @property
    def waiting(self) -> int:
        """How many pictures wait."""
        return self._interactive.length + self._bulk.length + self._retries.length

    def submit(self, job: Job, urgency: Urgency, now: float) -> None:
        """Have ``job`` wait for ``urgency``. Raises WouldBeLate where it is known that it would be."""
        self._note(urgency.caller, now)
        late_s = self._expect_answer(job, urgency, now) - urgency.give_up
        if late_s > 0:
            raise WouldBeLate(late_s, would_always_be=self.is_idle)
        job.waits_since = now
        job.waiters.append(urgency)
        if job.deaths:
            self._retries.suspect(job, now)
        else:
            self._queue_of(urgency).push(job, urgency)

    def join(self, job: Job, urgency: Urgency, now: float) -> None:
        """Have ``urgency`` wait for ``job`` as well, which goes as early as it does for any of those who wait."""
        self._note(urgency.caller, now)
        job.waiters.append(urgency)
        if job.queue is self._bulk and not urgency.is_bulk:
            self._bulk.remove(job)
            self._interactive.push(job, urgency)
        elif job.queue is self._queue_of(urgency):
            job.queue.push(job, urgency)

    def leave(self, job: Job, urgency: Urgency, now: float, reason: Reason = "left") -> None:
        """``urgency`` waits no longer. What nobody waits for is not sent."""
        if urgency in job.waiters:
            job.waiters.remove(urgency)
        if not job.waiters:
            job.left_at = now
            if job.queue is not None:
                job.queue.remove(job)
                self._on_drop(job, reason, 0.0)

    def take(self, now: float) -> Group | None:
        """What is to be sent now; it counts as on its way. None: nothing, or nothing before ``wake_at``."""
        for job in self._retries.release(now):
            for urgency in sorted(job.waiters, key=lambda waiter: waiter.is_bulk):
                queue = self._queue_of(urgency)
                if job.queue in (None, queue):
                    queue.push(job, urgency)
        suspect = self._retries.next_suspect(now)
        self.wake_at = self._retries.wake_at(now)
        if suspect is not None and not self.on_way:
            self._retries.remove(suspect)
            return self._send([suspect], now, is_suspect=True)
        if suspect is not None or any(group.is_suspect for group in self.on_way):
            return None  # until those that are on their way are answered: it meets nobody at a worker
        idle = self.capacity.groups_at_work - len(self.on_way)
        jobs: list[Job] = []
        if self._interactive.length and self._is_time(idle, now):
            jobs = self._fill(self._interactive, idle, now)
        if not jobs and self._bulk.length and not self._interactive.length and idle > 0 and self._is_time(idle, now):
            jobs = self._fill(self._bulk, idle, now)
        return self._send(jobs, now) if jobs else None

    def finish(self, group: Group, now: float, worker_s: float | None = None) -> None:
        """``group`` was answered; ``worker_s`` is what the worker spent on it, where it says so."""
        busy = self._busy(max(group.company, len(self.on_way)))
        self.on_way.remove(group)
        self._finished_at = now
        took_s = now - group.sent_at
        if worker_s is None:
            if took_s > MAX_UNTOLD_S:
                return
            # Some of the time it waited for those that were sent before it.
            worker_s = took_s * busy / group.company
        elif group.company <= self.capacity.workers:
            self.times.observe_way(took_s - worker_s)
        self.times.observe(now, group.units, worker_s, busy)

    def abandon(self, group: Group, now: float) -> None:
        """``group`` is not on its way any more, and will not be answered."""
        self.on_way.remove(group)
        self._finished_at = now

    def empty(self) -> list[Job]:
        """Have nothing wait any more: what did."""
        waiting = self._retries.empty()
        for queue in (self._interactive, self._bulk):
            for job in queue.in_turn(math.inf):
                queue.remove(job)
                waiting.append(job)
        return waiting

    def retry(self, group: Group, now: float) -> list[Job]:
        """A worker ended under ``group``: have each of its pictures sent again, by itself.

        What is answered are the jobs that this happened to too often: they are given up.
        """
        self.abandon(group, now)
        return [job for job in group.jobs if not self._retries.after_death(job, now)]

    def hold(self, group: Group, now: float, *, had_it: bool) -> list[Job]:
        """TorchServe ended, under ``group`` where it ``had_it``: have its pictures sent again, once it is back.

        What is answered are the jobs that are given up: this happened to them too often, or they came after the end.
        """
        self.abandon(group, now)
        return [job for job in group.jobs if not self._retries.after_loss(job, now, had_it=had_it)]

    def was_alone(self, group: Group) -> bool:
        """Whether ``group``, still on its way, is one picture that has met no other at a worker."""
        return len(group.jobs) == group.company == 1 and self._sent_at == group.sent_at

    def _queue_of(self, urgency: Urgency) -> FairQueue:
        return self._bulk if urgency.is_bulk else self._interactive

    def _note(self, caller: str, now: float) -> None:
        if caller and caller != self._latest_caller:
            if self._latest_caller is not None:
                self._shared_at = now
            self._latest_caller = caller

    def _quantum(self, now: float) -> float:
        return QUANTUM if now - self._shared_at < SHARED_S else math.inf

    def _busy(self, groups: int) -> int:
        """Workers that ``groups`` on their way keep busy."""
        return max(min(groups, self.capacity.workers), 1)

    def _free_at(self, now: float) -> float:
        """When a worker is free for what is sent next."""
        ahead = len(self.on_way) - self.capacity.groups_at_work
        if ahead < 0:
            return now
        return max(sorted(group.done_at for group in self.on_way)[ahead], now)

    def _expect_answer(self, job: Job, urgency: Urgency, now: float) -> float:
        """When ``job``, which comes now, would be answered."""
        times = self.times.of(now, self._busy(len(self.on_way) + 1))
        if self.is_idle:
            return now + self._least_s(times, job)
        start = self._free_at(now) + self.times.way_s + MARGIN * times.error_s
        waiting = self._interactive.length + (self._bulk.length if urgency.is_bulk else 0)
        if not waiting:
            return start + times.expect(job.units)
        before = self._interactive.units + (self._bulk.units if urgency.is_bulk else 0)
        at = self._expect_after(before, waiting, job, start, times)
        if at <= urgency.give_up:
            return at
        # Looked at more closely: it may come before some of them.
        fair = self._queue_of(urgency).units_before(urgency, self._quantum(now))
        if urgency.is_bulk:
            fair += self._interactive.units
        return self._expect_after(min(fair, before), waiting, job, start, times)

    def _least_s(self, times: GroupTimes, job: Job) -> float:
        """Seconds for ``job`` where no worker is at work: refused it would teach nothing, and sent it delays nobody.

        What large groups took under load says too little of one picture alone.
        """
        return self.times.way_s + times.least(job.units)

    def _expect_after(self, before: float, waiting: int, job: Job, start: float, times: GroupTimes) -> float:
        """When ``job`` is answered, with ``before`` units before it; its group has all that it may have."""
        in_group = min(before + job.units, (before + job.units) / (waiting + 1) * self.capacity.pictures_in_group)
        rest = max(before + job.units - in_group, 0.0)
        return start + times.expect(rest, rest / in_group) / self.capacity.groups_at_work + times.expect(in_group)

    def _is_time(self, idle: int, now: float) -> bool:
        """Whether to send now. A worker must have taken the group before: it would take what follows at once with it.

        With no worker idle there is time until the first of them is, unless a whole group waits.
        """
        places = self.capacity.groups_on_way - len(self.on_way)
        if places <= 0:
            return False
        at = (self._sent_at if idle > 0 else max(self._sent_at, self._finished_at)) + self.capacity.gather_s
        if idle <= 0 and self._interactive.length < self.capacity.pictures_in_group:
            at = max(at, self._free_at(now) - self.times.way_s)
        if at > now:
            self.wake_at = min(self.wake_at, at)
        return at <= now

    def _fill(self, queue: FairQueue, idle: int, now: float) -> list[Job]:
        """What goes together now. Neither it nor what follows is computed if it would be late."""
        times = self.times.of(now, self._busy(len(self.on_way) + 1))
        start = self._free_at(now) + self.times.way_s + MARGIN * times.error_s
        most = min(self.capacity.pictures_in_group, math.ceil(queue.length / max(idle, 1)))
        jobs: list[Job] = []
        units = size_bytes = 0.0
        give_up = math.inf
        for job in queue.in_turn(self._quantum(now)):
            reason = job.reason_to_drop(now)
            if reason is not None:
                queue.remove(job)
                self._on_drop(job, reason, now - job.give_up)
                continue
            if len(jobs) >= most or (jobs and (job.goes_alone or jobs[0].goes_alone)):
                break
            late_s = start + times.expect(units + job.units) - min(give_up, job.give_up)
            if not jobs and not self.on_way:
                late_s = now + self._least_s(times, job) - job.give_up
            if jobs and (late_s > 0 or size_bytes + job.size_bytes > self._max_group_bytes):
                break
            queue.remove(job)
            if late_s > 0:
                self._on_drop(job, "deadline", late_s)
                continue
            job.is_sent = True
            jobs.append(job)
            units += job.units
            size_bytes += job.size_bytes
            give_up = min(give_up, job.give_up)
        return jobs

    def _send(self, jobs: list[Job], now: float, *, is_suspect: bool = False) -> Group:
        units = sum(job.units for job in jobs)
        took_s = self.times.way_s + self.times.of(now, self._busy(len(self.on_way) + 1)).expect(units)
        group = Group(jobs, units, now, self._free_at(now) + took_s, len(self.on_way) + 1, is_suspect)
        self.on_way.append(group)
        self._sent_at = now
        return group
