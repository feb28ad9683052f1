"""Pictures that are sent once more, since a worker, or TorchServe as a whole, ended under them."""

from __future__ import annotations

import math

from marserve.web.dispatch.jobs import Job, OnDrop

#: Seconds to wait before each attempt where the one before met the end of a worker. Others may be alive, and while
#: workers are scaled down or killed the next attempt can meet the next of them. No more than these: perhaps it is the
#: picture that kills them.
PAUSES_S = (0.0, 0.0, 0.2, 0.4)
#: Seconds between attempts to send what TorchServe had, or was about to have, when it ended: it is being restarted.
HOLD_S = 0.5
#: Times that TorchServe may end under a picture until it is given up: perhaps it is the picture that ends it.
MAX_LOSSES = 3


class Retries:
    """Suspects, which are sent by themselves, and what is held until TorchServe is back."""

    def __init__(self, on_drop: OnDrop) -> None:
        self._on_drop = on_drop
        #: Jobs under which a worker ended, and when each may be sent again.
        self._suspects: list[tuple[float, Job]] = []
        #: Jobs under which TorchServe ended, and when each may wait with the others again.
        self._held: list[tuple[float, Job]] = []
        self._lost_at = -math.inf

    @property
    def length(self) -> int:
        return len(self._suspects) + len(self._held)

    def suspect(self, job: Job, at: float) -> None:
        """Have ``job`` sent by itself, from ``at`` on."""
        self._suspects.append((at, job))

    def after_death(self, job: Job, now: float) -> bool:
        """A worker ended under ``job``: whether it is sent again."""
        job.deaths += 1
        if job.deaths >= len(PAUSES_S):
            return False
        self.suspect(job, now + PAUSES_S[job.deaths])
        return True

    def after_loss(self, job: Job, now: float, *, had_it: bool) -> bool:
        """TorchServe ended, or is away: whether ``job`` is sent again.

        It is if it ``had_it``, or if it waited already when that last was so: whoever comes later is told at once.
        """
        if had_it:
            self._lost_at = now
            job.losses += 1
        if job.losses == MAX_LOSSES or job.waits_since > self._lost_at:
            return False
        job.was_lost = True
        self._held.append((now + HOLD_S, job))
        return True

    def release(self, now: float) -> list[Job]:
        """What was held for long enough, to wait with the others again; suspects among it are suspects again."""
        due = [job for at, job in self._held if at <= now]
        self._held = [(at, job) for at, job in self._held if at > now]
        wait = []
        for job in due:
            job.is_sent = False
            if not job.waiters:
                self._on_drop(job, "left", 0.0)
            elif job.deaths:
                self.suspect(job, now)
            else:
                wait.append(job)
        return wait

    def next_suspect(self, now: float) -> Job | None:
        """The one that ended the fewest workers, of those whose pause is over."""
        for at, job in list(self._suspects):
            reason = job.reason_to_drop(now)
            if reason is not None:
                self._suspects.remove((at, job))
                self._on_drop(job, reason, now - job.give_up)
        return min((job for at, job in self._suspects if at <= now), key=lambda job: job.deaths, default=None)

    def remove(self, suspect: Job) -> None:
        self._suspects = [(at, job) for at, job in self._suspects if job is not suspect]

    def empty(self) -> list[Job]:
        """Have nothing wait here any more: what did."""
        waiting = [job for _, job in (*self._suspects, *self._held)]
        self._suspects, self._held = [], []
        return waiting

    def wake_at(self, now: float) -> float:
        """When more of it is due; infinity where nothing is."""
        return min((at for at, _ in (*self._suspects, *self._held) if at > now), default=math.inf)
