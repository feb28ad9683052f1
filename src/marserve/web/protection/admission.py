"""How many requests are worked on at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from marserve.web.errors import Overloaded
from marserve.web.metrics import Metrics


class Admission:
    """Refuses at once what would only wait."""

    def __init__(self, max_in_flight: int, metrics: Metrics) -> None:
        self._max_in_flight = max_in_flight
        self._metrics = metrics
        self._in_flight = 0

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Count a request as at work. Raises Overloaded where there are too many."""
        if self._in_flight >= self._max_in_flight:
            self._metrics.rejected.labels("overload").inc()
            raise Overloaded("More requests are at work than can be answered soon: try again in a moment.")
        self._in_flight += 1
        self._metrics.in_flight.set(self._in_flight)
        try:
            yield
        finally:
            self._in_flight -= 1
            self._metrics.in_flight.set(self._in_flight)
