"""When requests are due: at a mean rate, whatever the server does, and at the same times for the same seed."""

from __future__ import annotations

import random
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path

from bench.simulation.traffic import read_recording


@dataclass(frozen=True)
class ArrivalProcess:
    """Independent gaps of a Gamma distribution, or those of a recording.

    ``variation`` is the gaps' coefficient of variation: with 1 they are a Poisson process, with more they come in
    bursts. Source: AlpaServe (OSDI 2023) models bursty callers so.
    """

    name: str
    variation: float = 1.0
    #: Seconds of recorded requests, rising.
    recorded: tuple[float, ...] = ()

    def times(self, count: int, per_second: float, seed: int) -> list[float]:
        """Seconds from the start at which ``count`` requests are due, rising.

        The gaps are scaled so that these requests have exactly the mean rate ``per_second``: a thousand gaps of a
        variation of 4 would miss it by 13 % otherwise. For one ``seed`` all rates have the same pattern.
        """
        source = random.Random(f"{self.name} {seed}")  # noqa: S311 - a measurement, which must repeat
        gaps = self._recorded_gaps(count, source) if self.recorded else self._gamma_gaps(count, source)
        total = sum(gaps)
        if total <= 0:
            raise ValueError(f"{self.name}: {count} requests at one moment have no rate.")
        return list(accumulate(gap * count / (total * per_second) for gap in gaps))

    def _gamma_gaps(self, count: int, source: random.Random) -> list[float]:
        shape = 1 / self.variation**2
        return [source.gammavariate(shape, 1 / shape) for _ in range(count)]

    def _recorded_gaps(self, count: int, source: random.Random) -> list[float]:
        """Those of a window of the recording, from a moment by chance on; from its end it goes on at its beginning."""
        times = self.recorded
        gaps = [times[0] + times[-1] / len(times), *(later - earlier for earlier, later in pairwise(times))]
        # A moment and not a request by chance: a burst is as likely as it is long.
        first = bisect_right(times, source.uniform(0, times[-1]))
        return [gaps[(first + number) % len(gaps)] for number in range(count)]


def arrival_process(name: str) -> ArrivalProcess:
    """``poisson``, ``gamma-4`` by its variation, or the path of a recording.

    Raises ValueError for any other name, and RecordingError (a ValueError) for what is no recording.
    """
    if name == "poisson":
        return ArrivalProcess(name)
    if match := re.fullmatch(r"gamma-(\d+(?:\.\d+)?)", name):
        if float(match[1]) <= 0:
            raise ValueError(f"{name!r}: the variation must be positive, such as gamma-4.")
        return ArrivalProcess(name, float(match[1]))
    path = Path(name)
    if not path.is_file():
        raise ValueError(f"{name!r} is neither poisson, nor gamma-N such as gamma-4, nor the file of a recording.")
    return ArrivalProcess(path.stem, recorded=tuple(read_recording(path)))


def variation(times: Sequence[float]) -> float:
    """The coefficient of variation of the gaps between ``times``."""
    gaps = [later - earlier for earlier, later in pairwise(times)]
    mean = sum(gaps) / len(gaps)
    return float((sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5 / mean)
