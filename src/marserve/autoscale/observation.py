"""What happened to one model between two samples of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

from marserve.torchserve.metrics import Counters


@dataclass(frozen=True)
class Observation:
    """One interval, which ended at ``at_s`` on any clock that only goes forward."""

    at_s: float
    seconds: float
    #: What happened in it.
    traffic: Counters
    #: Workers that TorchServe lists, and how many of them take work, at its end.
    listed: int
    ready: int
    #: Requests that waited for a worker at its end.
    pending: int


@dataclass(frozen=True)
class Traffic:
    """Several intervals seen as one."""

    seconds: float
    total: Counters
    #: The shortest and the longest that the queue was at the end of any of them.
    shortest_queue: int
    longest_queue: int
    #: How many more waited at the end of the last one than at the end of the first.
    queue_growth: int

    @classmethod
    def over(cls, observations: Sequence[Observation]) -> Traffic:
        """The sum of all of them."""
        pending = [observation.pending for observation in observations] or [0]
        counters = zip(*(astuple(observation.traffic) for observation in observations), strict=True)
        return cls(
            sum(observation.seconds for observation in observations),
            Counters(*map(sum, counters)),
            min(pending),
            max(pending),
            pending[-1] - pending[0],
        )

    @property
    def arrived_per_s(self) -> float:
        """Requests a second."""
        return self.total.arrived / self.seconds if self.seconds else 0.0

    @property
    def wait_s(self) -> float:
        """Mean seconds that an answered request waited; 0 where none was answered."""
        return self.total.waited_s / self.total.answered if self.total.answered else 0.0

    def expected_wait_s(self, pending: int) -> float:
        """Seconds that a request behind ``pending`` others waits at the rate at which they were answered lately."""
        if not pending:
            return 0.0
        return pending * self.seconds / self.total.answered if self.total.answered else self.seconds

    @property
    def busy(self) -> float:
        """Mean number of workers at work."""
        return self.total.worked_s / self.seconds if self.seconds else 0.0

    @property
    def demand(self) -> float:
        """Workers that would be at work if everything that came had been answered."""
        if not self.total.answered:
            return self.busy
        return max(self.busy, self.arrived_per_s * self.total.worked_s / self.total.answered)
