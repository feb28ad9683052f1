"""How many connections there may be: idle ones give way, so that a crowd of them keeps nobody out."""

from __future__ import annotations

import resource
from typing import Protocol

#: File descriptors that are wanted where the system allows them; each connection is one.
WANTED_DESCRIPTORS = 65_536
#: Of them, at least, for all but connections of callers: files, logs, Redis, TorchServe.
RESERVED_DESCRIPTORS = 128
#: Connections at once, however many descriptors there are, since each costs memory.
MAX_CONNECTIONS = 16_384


class Connection(Protocol):
    def give_way(self) -> None:
        """End, being idle."""


class Places:
    """For connections. When all are taken the one that has been idle for longest gives way."""

    def __init__(self, most: int) -> None:
        self._most = most
        #: How many are open.
        self.taken = 0
        #: Those with no request at work, longest first.
        self._idle: dict[Connection, None] = {}

    def enter(self, connection: Connection) -> bool:
        """Count a new, idle connection; False where it must go, since all others have a request at work."""
        self.taken += 1
        if self.taken > self._most:
            oldest = next(iter(self._idle), None)
            if oldest is None:
                return False
            del self._idle[oldest]
            oldest.give_way()
        self._idle[connection] = None
        return True

    def begin(self, connection: Connection) -> None:
        """It has a request at work now."""
        self._idle.pop(connection, None)

    def rest(self, connection: Connection) -> None:
        """It is idle again."""
        self._idle[connection] = None

    def leave(self, connection: Connection) -> None:
        self.taken -= 1
        self._idle.pop(connection, None)


def raise_descriptor_limit() -> int:
    """Take as many file descriptors as are wanted and the system gives; how many there are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, WANTED_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return WANTED_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft


def most_connections(descriptors: int, max_in_flight: int) -> int:
    """Each request at work may need a second connection, to TorchServe."""
    reserved = RESERVED_DESCRIPTORS + min(max_in_flight, descriptors // 4)
    return min(max(descriptors - reserved, descriptors // 4), MAX_CONNECTIONS)
