"""Whether a prediction holds, and how much of its error chance and the machine's speed explain.

What is real and what is predicted have the same arrivals, so the error is that of pairs: blocks of a few seconds are
drawn with both, again and again (Kunsch 1989), and the middle nine tenths of the errors are what chance makes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median

import numpy as np
from numpy.typing import NDArray

from bench.planned.session import Session
from bench.planned.spent import SEED, Spent, spent
from marserve.plan.calibration import spec_of
from marserve.plan.measurement import Measurement
from marserve.plan.pod import simulate
from marserve.plan.pod_spec import PodSpec
from marserve.plan.report import SLOWER
from marserve.plan.stages import Stage

LIMITS_MS = (100, 250)
#: What the prediction must be within: as a share of what is real, and in points of the share within 100 ms.
MOST_OFF, MOST_POINTS = 0.15, 5.0
#: Simulations of each load, each with chances of its own: slow moments of the machine among them, which are rare. What
#: is predicted of one run is their median.
PREDICTIONS = 15
#: Seconds of a block: longer than a queue lasts at most loads. Blocks that are drawn so often, and what is left out of
#: the errors at each end.
BLOCK_S, DRAWS, TAIL = 6.0, 200, 0.05

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

    @classmethod
    def typical(cls, runs: Sequence[Waits]) -> Waits:
        """The median of each figure: half of such runs show more."""
        return cls(
            median(each.p50_ms for each in runs),
            median(each.p99_ms for each in runs),
            {limit: median(each.within[limit] for each in runs) for limit in LIMITS_MS},
        )


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
    """One load, all its parts together."""

    arrivals: str
    load: float
    requests: int
    real: Waits
    predicted: Waits
    #: The least and the most of the simulated runs.
    predicted_p99_ms: tuple[float, float]
    error: Error
    #: Errors of blocks that were drawn: least and most of the middle ones.
    least: Error
    most: Error
    #: The mean rate over the measured capacity.
    share: float
    #: Where the time went in each part.
    spent: tuple[Spent, ...]
    #: The error where all in the pod takes as much longer, from moment to moment, as its workers did in the same part,
    #: by their own clocks.
    error_at_pace: Error
    #: What is predicted of a machine that is ``SLOWER``, beside what is predicted of this one.
    slower: Error
    #: Were the first half of the parts the prediction of the others: the least that callers and machine differ.
    halves: Error
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
    together: dict[tuple[str, float], list[Stage]] = {}
    for part in session.parts:
        if part.stage.is_open:
            together.setdefault((part.stage.arrivals, part.stage.load), []).append(part.stage)
    return measurement, spec, [compare(spec, stages, measurement.capacity.per_s) for stages in together.values()]


def compare(spec: PodSpec, stages: Sequence[Stage], capacity: float) -> Comparison:
    """The parts of one load, of a pod whose measured ``capacity`` is so many pictures a second."""
    due = [np.array(stage.done.due) for stage in stages]
    took = [
        np.where(np.array(stage.done.status) == 200, (np.array(stage.done.answered) - np.array(stage.done.due)) * 1e3,
                 np.inf)
        for stage in stages
    ]  # fmt: skip
    predicted = [_predicted(spec, times) for times in due]
    went = tuple(spent(spec, stage) for stage in stages)
    at_pace = [
        _predicted(replace(spec, pace=each.pace, pace_from=0), times) for times, each in zip(due, went, strict=True)
    ]
    slower = [_predicted(spec.slowed(SLOWER), times) for times in due]
    real, runs = Waits.of(np.concatenate(took)), _runs(predicted)
    expected = Waits.typical(runs)
    p99_ms = sorted(run.p99_ms for run in runs)
    drawn = _drawn(due, took, predicted)
    earlier, later = (Waits.of(np.concatenate(half)) for half in (took[: len(took) // 2], took[len(took) // 2 :]))
    return Comparison(
        arrivals=stages[0].arrivals, load=stages[0].load, requests=sum(map(len, due)),
        real=real, predicted=expected, predicted_p99_ms=(p99_ms[0], p99_ms[-1]), error=Error.of(real, expected),
        least=_quantile(drawn, TAIL), most=_quantile(drawn, 1 - TAIL),
        share=fmean(stage.per_s for stage in stages) / capacity,
        spent=went, error_at_pace=Error.of(real, Waits.typical(_runs(at_pace))),
        slower=Error.of(expected, Waits.typical(_runs(slower))), halves=Error.of(later, earlier),
        lag_p99_ms=max(stage.done.lag_p99_ms for stage in stages),
    )  # fmt: skip


def _predicted(spec: PodSpec, due: Times) -> Times:
    """(requests, simulations) of milliseconds."""
    arrivals = due.tolist()
    runs = [simulate(spec, arrivals, seed=seed) for seed in range(SEED, SEED + PREDICTIONS)]
    return np.array([[np.inf if seconds is None else seconds * 1e3 for seconds in run] for run in runs]).T


def _runs(parts: Sequence[Times]) -> list[Waits]:
    """Of each simulation; ``parts`` are as of ``_predicted``."""
    return [Waits.of(run) for run in np.concatenate(parts).T]


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
        found.append(Error.of(waits, Waits.typical(_runs([each for _, each in chosen]))))
    return found


def _quantile(errors: Sequence[Error], share: float) -> Error:
    """Of each figure by itself."""

    def of(figure: Callable[[Error], float]) -> float:
        return float(np.quantile([figure(error) for error in errors], share))

    return Error(
        of(lambda error: error.p50_off), of(lambda error: error.p99_off), of(lambda error: error.points)
    )  # fmt: skip
