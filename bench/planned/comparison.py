"""Whether a prediction holds, and how much of its error chance and the machine's speed explain.

What is real and what is predicted have the same arrivals, so the error is that of pairs: blocks of a few seconds are
drawn with both, again and again (Kunsch 1989), and the middle nine tenths of the errors are what chance makes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from bench.planned.session import Part, Session
from bench.planned.spent import SEED, Spent, spent
from marserve.plan.calibration import spec_of
from marserve.plan.measurement import Measurement
from marserve.plan.pod import simulate
from marserve.plan.pod_spec import PodSpec

LIMITS_MS = (100, 250)
#: What the prediction must be within: as a share of what is real, and in points of the share within 100 ms.
MOST_OFF, MOST_POINTS = 0.15, 5.0
#: Simulations of each load, each with chances of its own.
PREDICTIONS = 5
#: Seconds of a block: longer than a queue lasts at most loads. Blocks that are drawn so often, and what is left out of
#: the errors at each end.
BLOCK_S, DRAWS, TAIL = 6.0, 400, 0.05

Times = NDArray[np.float64]


@dataclass(frozen=True)
class Waits:
    """What callers feel; milliseconds, and shares of all requests within ``LIMITS_MS``."""

    p50_ms: float
    p99_ms: float
    within: dict[int, float]

    @classmethod
    def of(cls, took_ms: Times) -> Waits:
        """Of milliseconds; infinity is no answer."""
        rising = np.sort(took_ms)
        answered = int(np.isfinite(rising).sum())
        p50, p99 = (
            float(rising[min(answered - 1, answered * percent // 100)]) if answered else 0.0 for percent in (50, 99)
        )
        return cls(p50, p99, {limit: float((took_ms <= limit).mean()) for limit in LIMITS_MS})


@dataclass(frozen=True)
class Error:
    """As shares of what is real, positive where the prediction is too long; ``points`` are where it is too hopeful."""

    p50_off: float
    p99_off: float
    points: float

    @classmethod
    def of(cls, real: Waits, predicted: Waits) -> Error:
        near = LIMITS_MS[0]
        return cls(
            predicted.p50_ms / real.p50_ms - 1 if real.p50_ms else 0.0,
            predicted.p99_ms / real.p99_ms - 1 if real.p99_ms else 0.0,
            100 * (predicted.within[near] - real.within[near]),
        )

    @property
    def holds(self) -> bool:
        return max(abs(self.p50_off), abs(self.p99_off)) <= MOST_OFF and abs(self.points) <= MOST_POINTS


@dataclass(frozen=True)
class Comparison:
    """One load, both parts together."""

    arrivals: str
    load: float
    requests: int
    real: Waits
    predicted: Waits
    error: Error
    #: Errors of blocks that were drawn: least and most of the middle ones.
    least: Error
    most: Error
    #: The machine's speed around each part, by the rounds before and after: 1 is that of the measurement.
    speeds: tuple[float, ...]
    #: Where the time went in each part.
    spent: tuple[Spent, ...]
    #: The error where all in the pod takes as much longer as its workers did in the same part, by their own clocks.
    error_at_pace: Error
    lag_p99_ms: float

    @property
    def is_certain(self) -> bool:
        """Whether the verdict is the same for nearly all blocks that chance might have drawn."""
        if self.error.holds:
            return self.least.holds and self.most.holds
        return any(
            getattr(self.least, figure) > limit or getattr(self.most, figure) < -limit
            for figure, limit in (("p50_off", MOST_OFF), ("p99_off", MOST_OFF), ("points", MOST_POINTS))
        )


def compare_all(session: Session) -> tuple[Measurement, PodSpec, list[Comparison]]:
    """What was measured, the pod that is simulated, and each load in the order of their first parts."""
    measurement = session.recording.evaluated()
    spec = spec_of(measurement, with_generator=True)
    together: dict[tuple[str, float], list[tuple[Part, float]]] = {}
    for number, part in enumerate(session.parts):
        if part.stage.is_open:
            key = (part.stage.arrivals, part.stage.load)
            together.setdefault(key, []).append((part, _speed(session.parts, number, measurement.capacity.per_s)))
    return measurement, spec, [compare(spec, parts) for parts in together.values()]


def _speed(parts: Sequence[Part], number: int, capacity: float) -> float:
    """By the last round before and the first after; 1 where there is none."""
    before = [part.stage.rate_per_s for part in parts[:number] if not part.stage.is_open][-1:]
    after = [part.stage.rate_per_s for part in parts[number:] if not part.stage.is_open][:1]
    return fmean(rates) / capacity if (rates := [*before, *after]) else 1.0


def compare(spec: PodSpec, parts: Sequence[tuple[Part, float]]) -> Comparison:
    """``parts`` of one load, each with the machine's speed."""
    stages = [part.stage for part, _ in parts]
    due = [np.array(stage.done.due) for stage in stages]
    took = [
        np.where(np.array(stage.done.status) == 200, (np.array(stage.done.answered) - np.array(stage.done.due)) * 1e3,
                 np.inf)
        for stage in stages
    ]  # fmt: skip
    predicted = [_predicted(spec, times) for times in due]
    went = tuple(spent(spec, stage) for stage in stages)
    at_pace = [
        _predicted(replace(spec.slowed(each.worker_ratio), pace=(1.0,)), times)
        for times, each in zip(due, went, strict=True)
    ]
    real, expected = Waits.of(np.concatenate(took)), Waits.of(np.concatenate([each.ravel() for each in predicted]))
    drawn = _drawn(due, took, predicted)
    return Comparison(
        arrivals=stages[0].arrivals, load=stages[0].load, requests=sum(map(len, due)),
        real=real, predicted=expected, error=Error.of(real, expected),
        least=_quantile(drawn, TAIL), most=_quantile(drawn, 1 - TAIL),
        speeds=tuple(speed for _, speed in parts),
        spent=went, error_at_pace=Error.of(real, Waits.of(np.concatenate([each.ravel() for each in at_pace]))),
        lag_p99_ms=max(stage.done.lag_p99_ms for stage in stages),
    )  # fmt: skip


def _predicted(spec: PodSpec, due: Times) -> Times:
    """(requests, simulations) of milliseconds."""
    arrivals = due.tolist()
    runs = [simulate(spec, arrivals, seed=seed) for seed in range(SEED, SEED + PREDICTIONS)]
    return np.array([[np.inf if seconds is None else seconds * 1e3 for seconds in run] for run in runs]).T


def _drawn(due: Sequence[Times], took: Sequence[Times], predicted: Sequence[Times]) -> list[Error]:
    blocks = []
    for times, real, expected in zip(due, took, predicted, strict=True):
        numbers = (times / BLOCK_S).astype(int)
        blocks += [(real[numbers == block], expected[numbers == block]) for block in np.unique(numbers)]
    source = np.random.default_rng(SEED)
    found = []
    for _ in range(DRAWS):
        chosen = [blocks[number] for number in source.integers(len(blocks), size=len(blocks))]
        waits = Waits.of(np.concatenate([each for each, _ in chosen]))
        found.append(Error.of(waits, Waits.of(np.concatenate([each.ravel() for _, each in chosen]))))
    return found


def _quantile(errors: Sequence[Error], share: float) -> Error:
    """Of each figure by itself."""

    def of(figure: Callable[[Error], float]) -> float:
        return float(np.quantile([figure(error) for error in errors], share))

    return Error(
        of(lambda error: error.p50_off), of(lambda error: error.p99_off), of(lambda error: error.points)
    )  # fmt: skip
