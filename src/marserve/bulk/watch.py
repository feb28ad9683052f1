"""Notices that a run gets nothing done, says why as far as Ray knows, and ends it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from marserve.errors import MarserveError
from marserve.terminal import complain

#: Seconds without a finished piece after which a person is told, and again whenever they have doubled. Actors load the
#: archive before their first piece.
TOLD_S, FIRST_S = 60.0, 180.0
#: A piece may take this many times what the slowest has taken.
SLOWER = 3.0
#: Seconds without a finished piece after which the run ends, unless a person says otherwise; before the first piece at
#: least FIRST_S.
LIMIT_S = 1800.0
#: Seconds between two looks at the hosts.
LOOK_S = 5.0


class StalledError(MarserveError):
    """Nothing gets done any more; the message says why, and what to do."""

    exit_status = 3


@dataclass(frozen=True)
class Standing:
    """What Ray knows of a run."""

    hosts: frozenset[str]
    #: Actors that run, and those that load the archive or wait for room on a host.
    working: int
    waiting: int


class Watch:
    """Call ``finished`` for each piece, and ``check`` often."""

    def __init__(
        self, look: Callable[[], Standing], limit_s: float = LIMIT_S, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._look = look
        self._limit_s = max(limit_s, FIRST_S)
        self._usual_limit_s = limit_s
        self._clock = clock
        self._finished_at = self._looked_at = clock()
        self._told_s = FIRST_S
        self._slowest_s = 0.0
        self._hosts: frozenset[str] = frozenset()
        self._lost: set[str] = set()

    def finished(self, seconds: float) -> None:
        """A piece is written, which took ``seconds``."""
        self._finished_at = self._clock()
        self._limit_s = self._usual_limit_s
        self._slowest_s = max(self._slowest_s, seconds)
        self._told_s = max(TOLD_S, SLOWER * self._slowest_s)

    def check(self) -> None:
        """Tell a person of hosts that are lost and of a stall. Raises StalledError at the limit."""
        now = self._clock()
        if now - self._looked_at >= LOOK_S:
            self._looked_at = now
            self._tell_of_hosts(self._look().hosts)
        silent_s = now - self._finished_at
        if silent_s >= self._limit_s:
            raise StalledError(f"{self._why(silent_s)} The run ends; the same command goes on with what is missing.")
        if silent_s >= self._told_s:
            self._told_s = 2 * silent_s
            complain(f"{self._why(silent_s)} The run ends after {self._limit_s:.0f} s of this (--stall-limit).")

    def _tell_of_hosts(self, hosts: frozenset[str]) -> None:
        for host in sorted(self._hosts - hosts):
            complain(f"Host {host} is lost. What it had not written is computed again by others.")
        self._lost = (self._lost | (self._hosts - hosts)) - hosts
        self._hosts = hosts

    def _why(self, silent_s: float) -> str:
        standing = self._look()
        self._tell_of_hosts(standing.hosts)
        lost = f", {', '.join(sorted(self._lost))} lost" if self._lost else ""
        actors = f"{standing.working} of {standing.working + standing.waiting} actors work"
        if standing.waiting:
            actors += f", {standing.waiting} load the archive or wait for room on a host"
        return f"Nothing was finished for {silent_s:.0f} s: {actors} (hosts: {len(standing.hosts)}{lost})."
