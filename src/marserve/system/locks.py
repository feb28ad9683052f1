"""Locks between processes, as files; the system releases a lock when its holder ends, however it ends."""

from __future__ import annotations

import fcntl
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from marserve.errors import MarserveError
from marserve.system.waiting import wait_until


@contextmanager
def locked(file: Path, *, on_wait: Callable[[], None] = lambda: None, timeout_s: float = math.inf) -> Iterator[None]:
    """Hold the lock ``file``. ``on_wait`` is called once if another process holds it.

    Raises MarserveError when ``timeout_s`` seconds have passed without getting it.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as handle:

        def is_mine() -> bool:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        if not is_mine():
            on_wait()
            if not wait_until(is_mine, timeout_s):
                raise MarserveError(f"Another process still holds {file} after {timeout_s:.0f} seconds.")
        yield
