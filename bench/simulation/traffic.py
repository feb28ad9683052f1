"""When requests come: made up, or as recorded. All functions answer rising seconds from 0."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator


def poisson(rate_at: Callable[[float], float], peak_per_s: float, seconds: float, seed: int) -> Iterator[float]:
    """Independent requests at ``rate_at`` a second, which never exceeds ``peak_per_s``, by thinning."""
    source = random.Random(seed)  # noqa: S311 - a simulation, which must repeat
    now = 0.0
    while (now := now + source.expovariate(peak_per_s)) < seconds:
        if source.random() * peak_per_s < rate_at(now):
            yield now


def steady(per_s: float, seconds: float, seed: int) -> Iterator[float]:
    """The same rate all the time."""
    return poisson(lambda _: per_s, per_s, seconds, seed)


def burst(
    per_s: float, peak_per_s: float, seconds: float, seed: int, *, every_s: float = 600.0, length_s: float = 60.0
) -> Iterator[float]:
    """``per_s``, and ``peak_per_s`` for ``length_s`` in the middle of every ``every_s``."""

    def rate(now: float) -> float:
        return peak_per_s if abs(now % every_s - every_s / 2) < length_s / 2 else per_s

    return poisson(rate, peak_per_s, seconds, seed)


def daily(low_per_s: float, peak_per_s: float, seconds: float, seed: int) -> Iterator[float]:
    """One day, squeezed into ``seconds``: a sine from the low at night to the peak at noon."""

    def rate(now: float) -> float:
        return low_per_s + (peak_per_s - low_per_s) * (1 - math.cos(2 * math.pi * now / seconds)) / 2

    return poisson(rate, peak_per_s, seconds, seed)
