"""How a stack with one model fares with fixed or autoscaled workers: the planner's pod, and the service's own rules."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count
from statistics import NormalDist, fmean

from marserve.autoscale.autoscaler import INTERVAL_S, ModelSample, WatchedModel
from marserve.autoscale.observation import WebCounters
from marserve.autoscale.policy import Capacity
from marserve.autoscale.rules import Rules
from marserve.plan.dispatcher import SentGroup
from marserve.plan.pod import Pod
from marserve.plan.pod_spec import PodSpec
from marserve.torchserve.metrics import Counters

#: Values that stand for a batch's relative time, and the least of them.
NOISES, LEAST_NOISE = 999, 0.2


@dataclass(frozen=True)
class SimulatedMachine:
    """How long things take; docs/autoscaling.md says which of the defaults were measured."""

    batch_size: int = 8
    #: Pictures at once, waiting or at work; more are refused, as by the web service.
    max_in_flight: int = 128
    #: Seconds of a batch, whatever its size, and of each picture in it.
    batch_s: float = 0.002
    picture_s: float = 0.015
    #: Relative standard deviation of a batch's time.
    spread: float = 0.1
    #: Seconds until a new worker takes work.
    start_s: float = 1.0

    def pod(self, workers: int) -> PodSpec:
        """With a core for each worker, and nothing else that takes any."""
        seconds = tuple(self.batch_s + self.picture_s * pictures for pictures in range(1, self.batch_size + 1))
        deviations = [NormalDist().inv_cdf((number + 0.5) / NOISES) for number in range(NOISES)]
        noise = [max(LEAST_NOISE, 1 + self.spread * deviation) for deviation in deviations]
        return PodSpec(workers, (seconds,), noise=(tuple(noise),), max_in_flight=self.max_in_flight)


@dataclass(frozen=True)
class SimulationOutcome:
    """How a run went; requests wait until a worker begins with them."""

    requests: int
    refused: int
    wait_mean_s: float
    wait_p50_s: float
    wait_p99_s: float
    mean_workers: float
    most_workers: int
    changes: int


class _WaitingPod(Pod):
    """Notes for how long each picture waited."""

    def __init__(self, spec: PodSpec, due: list[float], took: list[float | None], seed: int) -> None:
        super().__init__(spec, due, took, seed=seed)
        self.due = due
        self.waits_s: list[float] = []

    def _begin(self, group: SentGroup) -> None:
        super()._begin(group)
        self.waits_s += [self.now - self.due[number] for number in group.numbers]


def simulate(
    arrivals: Iterable[float], machine: SimulatedMachine, scaling: int | Rules, *, cores: int, seed: int = 18
) -> SimulationOutcome:
    """``scaling`` is a fixed number of workers, or the rules to which the autoscaler holds on ``cores`` cores."""
    workers = most = scaling if isinstance(scaling, int) else scaling.minimum
    due: list[float] = []
    took: list[float | None] = []
    pod = _WaitingPod(machine.pod(workers), due, took, seed)
    watched = WatchedModel(scaling) if isinstance(scaling, Rules) else None
    # Multiples of the interval, without the sum of their errors.
    samples = (number * INTERVAL_S for number in count(1))
    next_sample_s = next(samples)
    changes, changed_s, worker_seconds = 0, 0.0, 0.0
    for at_s in arrivals:
        while watched is not None and next_sample_s <= at_s:
            pod.advance(next_sample_s)
            watched.add(_sample(pod, workers))
            decision = watched.decide(Capacity(cores, f"{cores} cores"))
            if decision is not None and decision.workers != workers:
                worker_seconds += workers * (next_sample_s - changed_s)
                workers, changed_s = decision.workers, next_sample_s
                most = max(most, workers)
                changes += 1
                pod.scale(workers, machine.start_s)
                watched.changed(next_sample_s, workers)
            next_sample_s = next(samples)
        due.append(at_s)
        took.append(None)
        pod.arrive(len(due) - 1)
    end_s = pod.now
    pod.advance(float("inf"))
    waits = sorted(pod.waits_s)
    return SimulationOutcome(
        requests=len(due),
        refused=pod.refused,
        wait_mean_s=fmean(waits) if waits else 0.0,
        wait_p50_s=_percentile(waits, 50),
        wait_p99_s=_percentile(waits, 99),
        mean_workers=(worker_seconds + workers * (end_s - changed_s)) / end_s if end_s else 0.0,
        most_workers=most,
        changes=changes,
    )


def _sample(pod: Pod, wanted: int) -> ModelSample:
    """What both servers report now: as there, a group counts when it is done."""
    torchserve = Counters(pod.groups_sent, pod.groups_answered, pod.waited_at_hand_s, pod.worked_s, pod.answered)
    web = WebCounters(pod.sent, pod.waited_s, all_models=pod.sent, rejected=float(pod.refused))
    return ModelSample(pod.now, torchserve, wanted, pod.ready, pod.at_hand, web, pod.waiting)


def _percentile(rising: list[float], percent: int) -> float:
    return rising[min(len(rising) - 1, len(rising) * percent // 100)] if rising else 0.0
