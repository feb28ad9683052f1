"""When requests come: made up, or as recorded (CSV, text, or the web service's log). Always rising seconds from 0."""

from __future__ import annotations

import csv
import json
import math
import random
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path

#: The routes of the web service that end in a worker.
CLASSIFYING = ("/predict", "/classify", "/explain", "/v2/")


class RecordingError(ValueError):
    """The file is no recording; the message says what is wrong with it."""


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
