"""When requests come: made up, or as recorded (CSV, text, or the web service's log). Always rising seconds from 0."""

from __future__ import annotations

import csv
import json
import math
import random
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate, pairwise
from pathlib import Path

#: The routes of the web service that end in a worker.
CLASSIFYING = ("/predict", "/classify", "/explain", "/v2/")


class RecordingError(ValueError):
    """The file is no recording; the message says what is wrong with it."""


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


def read_recording(file: Path) -> list[float]:
    """Seconds of all requests from the first one on, rising.

    A CSV file has the column ``time``, in seconds or as ISO 8601, and may have the column ``requests``: how many came
    from then to the next row. A ``.txt`` file has one time a line. Any other file is read as the log of the web
    service. Raises RecordingError.
    """
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            if file.suffix == ".csv":
                times = list(_from_csv(file, lines))
            else:
                times = list(_from_text(file, lines) if file.suffix == ".txt" else _from_log(lines))
    except (OSError, UnicodeDecodeError) as exc:
        raise RecordingError(f"{file} cannot be read: {exc}") from exc
    if not times:
        raise RecordingError(f"{file} holds no requests.")
    times.sort()
    return [time - times[0] for time in times]


def _from_csv(file: Path, lines: Iterable[str]) -> Iterator[float]:
    reader = csv.DictReader(lines)
    if "time" not in (reader.fieldnames or ()):
        raise RecordingError(f"{file} has no column 'time': its first line must be 'time' or 'time,requests'.")
    try:
        bins = [(_seconds(entry["time"]), int(entry.get("requests") or 1)) for entry in reader]
    except (ValueError, TypeError) as exc:
        raise RecordingError(f"{file}, line {reader.line_num}: {exc}") from exc
    if "requests" not in (reader.fieldnames or ()):
        yield from (time for time, _ in bins)
        return
    # A last row has no next one: it is taken to be as long as the one before.
    length = bins[-1][0] - bins[-2][0] if len(bins) > 1 else 1.0
    ends = [*bins[1:], (bins[-1][0] + length, 0)] if bins else []
    for (start, count), (end, _) in zip(bins, ends, strict=True):
        yield from (start + (end - start) * (number + 0.5) / count for number in range(count))


def _from_text(file: Path, lines: Iterable[str]) -> Iterator[float]:
    try:
        yield from map(_seconds, map(str.strip, lines))
    except ValueError as exc:
        raise RecordingError(f"{file} is not made of one time a line: {exc}") from exc


def _from_log(lines: Iterable[str]) -> Iterator[float]:
    for line in lines:
        time = _time_of(line)
        if time is not None:
            yield time


def _time_of(line: str) -> float | None:
    """When a request to classify came; None for any other line."""
    try:
        entry = json.loads(line)
        if entry["logger"] != "web.access" or not entry["path"].startswith(CLASSIFYING):
            return None
        # The line is written when the request has been answered.
        return _seconds(entry["time"]) - float(entry["duration_ms"]) / 1000
    except (ValueError, KeyError, TypeError, AttributeError):  # lines that other programs wrote
        return None


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return datetime.fromisoformat(text).timestamp()
