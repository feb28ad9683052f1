"""When a service is ended and started again, by what is seen of it: no clock and no process, so that it can be tried in
simulated time.

It never gives up. The wait grows between two *starts*: a service that fails at once is started every 30 seconds in the
end, and one that fails after half a minute of work is back without a wait.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

#: Seconds between a start and the next one, by the restarts since the service was last healthy for ``HEALTHY_S``.
BACKOFF_S = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
#: Seconds of health after which what happened before no longer counts.
HEALTHY_S = 60.0
#: Seconds that a process may be stopped (SIGSTOP): longer is a hang. A debugger's stop is another state.
STOPPED_S = 2.0
#: Likewise of a worker, which is back in a moment and loses no more than a batch.
WORKER_STOPPED_S = 1.0
#: Seconds between two looks, at most; after more, this process itself did not run, and nobody else is to blame.
LONGEST_GAP_S = 3.0


class Phase(enum.Enum):
    STARTING = "starting"
    HEALTHY = "healthy"
    #: For its next start.
    WAITING = "waiting"


class Act(enum.Enum):
    NOTHING = enum.auto()
    #: End what is left of it; ``Watched.reason`` says why.
    END = enum.auto()
    START = enum.auto()


@dataclass(frozen=True)
class Seen:
    """One look at a service."""

    #: How its process ended; None while it is there.
    ended: str | None = None
    is_stopped: bool = False
    #: Whether it does its work; looked at while it starts.
    is_ready: bool = False
    #: The results of its checks that have come since the last look, by what each complains of.
    answers: Mapping[str, bool] = field(default_factory=dict)


class Watched:
    """One service: what is to be done with it."""

    def __init__(self, start_s: float, limits_s: Mapping[str, float], now_s: float) -> None:
        """It is healthy at ``now_s``. ``start_s``: seconds until it must be ready; ``limits_s``: seconds for which a
        check may fail, by what it complains of.
        """
        self.phase = Phase.HEALTHY
        #: Why it was ended last.
        self.reason = ""
        #: Restarts since it was last healthy for a while, the one to come included.
        self.attempt = 0
        #: When it failed.
        self.failed_at_s = now_s
        #: When it is started again.
        self.due_s = now_s
        self._start_s = start_s
        self._limits_s = limits_s
        self._since_s = self._started_at_s = self._looked_at_s = now_s
        self._stopped_since_s: float | None = None
        self._failing_since_s: dict[str, float] = {}

    def step(self, now_s: float, seen: Seen) -> Act:
        """What to do at ``now_s``; call ``started`` or ``fail`` after ``Act.START``."""
        if now_s - self._looked_at_s > LONGEST_GAP_S:
            self._forget()
            self._since_s += now_s - self._looked_at_s  # a start that nobody looked at may have made no progress
        self._looked_at_s = now_s
        if self.phase is Phase.WAITING:
            return Act.START if now_s >= self.due_s else Act.NOTHING
        if (reason := self._failure(now_s, seen)) is not None:
            self.fail(now_s, reason)
            return Act.END
        if self.phase is Phase.STARTING and seen.is_ready:
            self._enter(Phase.HEALTHY, now_s)
        elif self.phase is Phase.HEALTHY and now_s - self._since_s >= HEALTHY_S:
            self.attempt = 0
        return Act.NOTHING

    def started(self, now_s: float) -> None:
        """Its process is there."""
        self._enter(Phase.STARTING, now_s)
        self._started_at_s = now_s

    def fail(self, now_s: float, reason: str) -> None:
        """It has failed, or could not be started, and waits for its next start."""
        if self.phase is Phase.WAITING:
            self._started_at_s = now_s  # a start that failed was one
        else:
            self.failed_at_s = now_s
        self.attempt += 1
        self.reason = reason
        self.due_s = max(now_s, self._started_at_s + BACKOFF_S[min(self.attempt, len(BACKOFF_S)) - 1])
        self._enter(Phase.WAITING, now_s)

    def _enter(self, phase: Phase, now_s: float) -> None:
        self.phase = phase
        self._since_s = now_s
        self._forget()

    def _forget(self) -> None:
        self._stopped_since_s = None
        self._failing_since_s.clear()

    def _failure(self, now_s: float, seen: Seen) -> str | None:
        if seen.ended is not None:
            return seen.ended
        if seen.is_stopped:
            if self._stopped_since_s is None:
                self._stopped_since_s = now_s
            if now_s - self._stopped_since_s >= STOPPED_S:
                return f"its process was stopped (SIGSTOP) for {STOPPED_S:g} s"
        else:
            self._stopped_since_s = None
        if self.phase is Phase.STARTING:
            late = now_s - self._since_s >= self._start_s and not seen.is_ready
            return f"it was not ready {self._start_s:g} s after its start" if late else None
        for complaint, is_good in seen.answers.items():
            if is_good:
                self._failing_since_s.pop(complaint, None)
                continue
            if now_s - self._failing_since_s.setdefault(complaint, now_s) >= self._limits_s[complaint]:
                return f"{complaint} for {self._limits_s[complaint]:g} s"
        return None


class StoppedProcesses:
    """Which of the workers have been stopped (SIGSTOP) for too long."""

    def __init__(self) -> None:
        self._since_s: dict[int, float] = {}
        self._looked_at_s = 0.0

    def step(self, now_s: float, stopped: Iterable[int]) -> list[int]:
        """Those of the process ids ``stopped`` that have been so for ``WORKER_STOPPED_S``."""
        if now_s - self._looked_at_s > LONGEST_GAP_S:
            self._since_s.clear()
        self._looked_at_s = now_s
        self._since_s = {pid: self._since_s.get(pid, now_s) for pid in stopped}
        return [pid for pid, since_s in self._since_s.items() if now_s - since_s >= WORKER_STOPPED_S]
