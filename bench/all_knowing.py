"""What a scheduler that knows all arrivals beforehand could do at best."""

from __future__ import annotations

import heapq
from collections.abc import Iterable


def most_in_time(arrivals: Iterable[float], deadline_s: float, service_s: float, workers: int) -> int:
    """The largest number of requests that ``workers`` can finish within ``deadline_s`` of their arrival.

    Each takes ``service_s`` of one worker; all times are seconds, ``arrivals`` rise. Every schedule can be put into the
    order of the arrivals, which is that of the deadlines, and then it is optimal to take each request that can still be
    finished in time: the k-th that is taken never ends later than the k-th of any other schedule, by induction over k.

    For a server that works in batches, whose time for one picture falls with their size, this is an upper bound when
    ``service_s`` is the time for one picture in the largest batch: every schedule of batches becomes one of single
    pictures by letting them follow each other within their batch's time.
    """
    free_at = [float("-inf")] * workers
    in_time = 0
    for arrived in arrivals:
        done = max(free_at[0], arrived) + service_s
        if done <= arrived + deadline_s:
            heapq.heapreplace(free_at, done)
            in_time += 1
    return in_time
