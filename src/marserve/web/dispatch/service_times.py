"""How long workers take, learnt from how long they took."""

from __future__ import annotations

import math

#: What each group that came before still counts, when another is answered: the last thirty decide.
MEMORY = 0.97
#: Weight of the newest in averages.
GAIN = 0.1
#: Seconds after which what was learnt is no knowledge any more: whoever is refused by it teaches nothing.
STALE_S = 5.0
#: Seconds beyond which it was not the way: there was no worker, and it waited for one to be restarted.
MAX_WAY_S = 0.05
#: Relative spread of the sizes of groups from which their fixed share is told from that of each picture.
MIN_SPREAD = 0.2


class GroupTimes:
    """Seconds that a worker takes for a group: a fixed part and so much a unit, by weighted least squares."""

    def __init__(self) -> None:
        self._weight = self._units = self._seconds = self._squares = self._products = 0.0
        #: By how much they were wrong, on average.
        self.error_s = 0.0
        self._slope = 0.0
        #: Of the largest group.
        self._most_units = 0.0

    def observe(self, units: float, seconds: float) -> None:
        if self._weight:
            self.error_s += (abs(seconds - self.expect(units)) - self.error_s) * GAIN
        self._most_units = max(self._most_units, units)
        self._weight = self._weight * MEMORY + 1
        self._units = self._units * MEMORY + units
        self._seconds = self._seconds * MEMORY + seconds
        self._squares = self._squares * MEMORY + units * units
        self._products = self._products * MEMORY + units * seconds
        mean, ratio = self._units / self._weight, self._seconds / self._units
        variance = self._squares / self._weight - mean * mean
        self._slope = ratio
        if variance > (MIN_SPREAD * mean) ** 2:
            covariance = self._products / self._weight - mean * self._seconds / self._weight
            # Neither part is negative.
            self._slope = min(max(covariance / variance, 0.0), ratio)

    def expect(self, units: float, groups: float = 1.0) -> float:
        """Seconds of one worker for ``units`` in ``groups``; 0 as long as nothing is known."""
        if not self._weight:
            return 0.0
        fixed = (self._seconds - self._slope * self._units) / self._weight
        return fixed * groups + self._slope * units

    def least(self, units: float) -> float:
        """Seconds for ``units`` as the average unit took them, and no more: that is in groups, which are cheaper.

        Of a picture that is larger than any group was no more is known than what that group took: units are a guess.
        """
        return self._seconds / self._units * min(units, self._most_units) if self._weight else 0.0


class ServiceTimes:
    """``GroupTimes`` by how many workers were busy, since they share the cores, and the way to them and back."""

    def __init__(self) -> None:
        self._by_busy: dict[int, GroupTimes] = {}
        #: Seconds from sending to a worker that is free until the answer is here, besides the worker's own.
        self.way_s = 0.0
        self._observed = -math.inf

    def observe(self, now: float, units: float, worker_s: float, busy: int) -> None:
        if now - self._observed > STALE_S:
            self._by_busy.clear()
        times = self._by_busy.get(busy)
        if times is None:
            times = self._by_busy[busy] = GroupTimes()
        times.observe(units, worker_s)
        self._observed = now

    def observe_way(self, seconds: float) -> None:
        if seconds <= MAX_WAY_S:
            self.way_s += (max(seconds, 0.0) - self.way_s) * (GAIN if self.way_s else 1.0)

    def of(self, now: float, busy: int) -> GroupTimes:
        """What is known for ``busy`` workers, or else for the number nearest to it."""
        if now - self._observed > STALE_S:
            return GroupTimes()
        times = self._by_busy.get(busy)
        if times is None:
            times = self._by_busy[min(self._by_busy, key=lambda known: abs(known - busy))]
        return times
