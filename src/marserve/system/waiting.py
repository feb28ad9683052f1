"""The one loop that waits for something that cannot be waited for otherwise."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T],
    deadline_s: float,
    *,
    poll_s: float = 0.1,
    while_alive: Callable[[], bool] = lambda: True,
) -> T:
    """Call ``condition`` every ``poll_s`` seconds until its result is true, and return that.

    Returns the last result, which is not true, once ``deadline_s`` seconds have passed (``math.inf``: never) or
    ``while_alive`` says that nothing more can come. An exception of either ends the wait; ``condition`` is also the
    place to show progress.
    """
    give_up = time.monotonic() + deadline_s
    while not (result := condition()) and while_alive() and (left := give_up - time.monotonic()) > 0:
        time.sleep(min(poll_s, left))
    return result
