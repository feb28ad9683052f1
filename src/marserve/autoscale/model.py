"""One model while it is watched."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from marserve.autoscale.capacity import Capacity
from marserve.autoscale.decision import Decision
from marserve.autoscale.observation import Observation, Traffic
from marserve.autoscale.policy import decide
from marserve.autoscale.rules import Rules
from marserve.torchserve.metrics import Counters

#: Mean workers at work below which a model claims no cores.
IDLE_BUSY = 0.1


@dataclass(frozen=True)
class Look:
    """A model at one moment."""

    at_s: float
    counters: Counters
    listed: int
    ready: int
    pending: int


class WatchedModel:
    """What was seen of a model, as far back as decisions look."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._last: Look | None = None
        self._changed_at_s = 0.0
        #: What the number of workers was changed to here.
        self._wanted: int | None = None
        self._history: deque[Observation] = deque()

    def add(self, look: Look) -> None:
        """Note one more look; an interval that was much longer than usual, or none, is the caller's to avoid."""
        if self._last is None:
            self._changed_at_s = look.at_s
        else:
            if look.listed not in (self._last.listed, self._wanted):
                self._changed_at_s = look.at_s  # by somebody else, whose choice is given its time as well
            seconds = look.at_s - self._last.at_s
            traffic = look.counters.since(self._last.counters)
            self._history.append(Observation(look.at_s, seconds, traffic, look.listed, look.ready, look.pending))
        self._last = look
        oldest = look.at_s - self._rules.down_after_s - self._rules.up_after_s
        while self._history and self._history[0].at_s < oldest:
            self._history.popleft()

    def forget(self) -> None:
        """Begin anew: what comes next is another server, or another version."""
        self._last = None
        self._history.clear()

    def decide(self, most: Capacity) -> Decision | None:
        """How many workers there should be; None as long as too little was seen."""
        return decide(self._history, self._changed_at_s, self._rules, most) if self._history else None

    def changed(self, at_s: float, workers: int) -> None:
        """Note that TorchServe was told to have ``workers``."""
        self._changed_at_s = at_s
        self._wanted = workers

    @property
    def claimed(self) -> int:
        """Workers that keep other models from the cores: all of them, unless hardly anybody asks for this model."""
        if self._last is None:
            return 0
        since = self._last.at_s - self._rules.down_after_s
        busy = Traffic.over([seen for seen in self._history if seen.at_s > since]).busy
        return self._last.listed if busy >= IDLE_BUSY else 0
