"""Which of a server's workers are at work: one that is alone may use the cores of the others."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Occupancy:
    """One worker's view of it; the system forgets a worker that ends.

    A worker at work holds a shared lock on a directory that all have in common. It is alone if it could have that lock
    for itself. Nobody ever waits for it, and nothing is written.
    """

    def __init__(self, directory: Path) -> None:
        """Where ``directory`` cannot be opened or locked, nobody is ever alone."""
        try:
            self._descriptor: int | None = os.open(directory, os.O_RDONLY)
        except OSError:
            self._descriptor = None

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """This worker is at work inside the block."""
        self._lock(fcntl.LOCK_SH)
        try:
            yield
        finally:
            self._lock(fcntl.LOCK_UN)

    def alone(self) -> bool:
        """Whether no other worker is at work; to be called inside ``at_work``."""
        alone = self._lock(fcntl.LOCK_EX)
        # The shared lock was given up for the attempt, successful or not.
        self._lock(fcntl.LOCK_SH)
        return alone

    def close(self) -> None:
        """End it; afterwards nobody is ever alone."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _lock(self, kind: int) -> bool:
        if self._descriptor is None:
            return False
        try:
            fcntl.flock(self._descriptor, kind | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
