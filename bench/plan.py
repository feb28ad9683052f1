"""What one visit to a server measures, in which order servers are visited, and how long all of it takes."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.candidates import Candidate, measured_keys
from bench.options import COMPARED_AT, Options

PHOTOGRAPHS = "photographs"
LARGE = "12 megapixels"
#: Seconds of one visit besides its measurements, as seen on two cores: start, checks, stop.
VISIT_S = 14.0
#: Seconds of each measurement besides its own: wrk reads the pictures.
MEASUREMENT_S = 0.5
#: Clients at the 12-megapixel pictures: a full queue of them would take longer than the measurement.
LARGE_CLIENTS = 8
#: Seconds of the limit and of one growth point, and how many points there are.
LIMIT_S = 8.0
GROWTH_S = 45.0


@dataclass(frozen=True)
class Step:
    """One measurement at a running server: which pictures, how many clients."""

    pictures: str
    clients: int


def steps_of(key: str, options: Options) -> list[Step]:
    """What is measured at the level ``key`` of a server."""
    clients = options.clients if options.wants_curve(key) else (COMPARED_AT,)
    # The most telling first: a visit that breaks off has it.
    ordered = sorted(set(clients), key=lambda number: (number != COMPARED_AT, number))
    steps = [Step(PHOTOGRAPHS, number) for number in ordered]
    if options.wants_large(key):
        steps.append(Step(LARGE, LARGE_CLIENTS))
    return steps


def visiting_order(candidates: Sequence[Candidate], round_number: int) -> list[Candidate]:
    """Each round has its own order, the same in every run: a slow minute of the machine hits different servers."""
    order = list(candidates)
    random.Random(round_number).shuffle(order)  # noqa: S311 - an order, no secret
    return order


def estimate_s(candidates: Iterable[Candidate], options: Options, growth_points: int) -> float:
    """Seconds that the whole run takes, set-up of the peers' environments apart."""
    total = 0.0
    for candidate in candidates if "servers" in options.parts else []:
        steps = [step for _, key in measured_keys(candidate) for step in steps_of(key, options)]
        warm_up_s = len(candidate.levels) * options.warm_up_s
        total += options.rounds * (VISIT_S + warm_up_s + len(steps) * (options.seconds + MEASUREMENT_S))
    if "limit" in options.parts:
        total += options.rounds * len(options.precisions) * 2 * (options.seconds + LIMIT_S)
    if "growth" in options.parts:
        total += growth_points * (GROWTH_S + options.seconds)
    return total
