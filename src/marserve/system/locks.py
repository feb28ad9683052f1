"""Locks between processes, as files; the system releases a lock when its holder ends, however it ends."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from marserve.errors import MarserveError


@contextmanager
def locked(file: Path, *, on_wait: Callable[[], None] = lambda: None, timeout_s: float | None = None) -> Iterator[None]:
    """Hold the lock ``file``. ``on_wait`` is called once if another process holds it.

    Raises MarserveError when ``timeout_s`` seconds have passed without getting it.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    waited = False
    with file.open("a") as handle:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not waited:
                    on_wait()
                    waited = True
                if timeout_s is not None and time.monotonic() - started >= timeout_s:
                    raise MarserveError(f"Another process still holds {file} after {timeout_s:.0f} seconds.") from None
                time.sleep(0.1)
        yield
