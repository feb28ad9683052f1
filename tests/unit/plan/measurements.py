"""A measurement of a pod that does not exist: its loads are simulated, and evaluated as those of a real one."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from statistics import NormalDist
from typing import Any
from unittest import mock

from marserve.plan.arrivals import arrival_process
from marserve.plan.figures import evaluate
from marserve.plan.load import OpenLoad
from marserve.plan.measure import CLIENTS, LOADS
from marserve.plan.measurement import Conditions, Measurement
from marserve.plan.observed import ObservedPod, observe, observe_clients
from marserve.plan.pod_spec import PodSpec
from marserve.plan.stages import RAMP_S, ROUND_S, Stage

#: Seconds of its worker for a group, and for each picture in it.
GROUP_S, PICTURE_S = 0.002, 0.006
BATCH = 8
#: Relative standard deviation of both.
SPREAD = 0.1
#: Processor seconds for a picture besides the worker's.
WEB_S, TORCHSERVE_S, GENERATOR_S = 0.001, 0.0004, 0.0002
#: Factors of these seconds; no two groups take equally long, by which figures tell them apart.
NOISE = tuple(1 + SPREAD * NormalDist().inv_cdf((number + 0.5) / 999) for number in range(999))
#: One worker with one thread on two cores.
POD = PodSpec(
    workers=1,
    seconds=(tuple(GROUP_S + PICTURE_S * size for size in range(1, BATCH + 1)),),
    noise=(NOISE,),
    cores=2,
    arrival_s=0.6 * WEB_S,
    answer_s=0.4 * WEB_S,
    beside=(TORCHSERVE_S + GENERATOR_S) / WEB_S,
    way_s=0.001,
    pause_s=0.002,
    batch_delay_s=0.001,
    besides_s=(0.0, 0.0005, 0.001),
)
#: Pictures of an open load.
REQUESTS = 1000


def conditions(**changes: Any) -> Conditions:
    content: dict[str, Any] = {
        "measured_at": "2026-11-26T12:00:00+00:00", "marserve": "1.0", "seconds": 110.0,
        "machine": {"processor": "a processor", "cores": 2, "flags": [], "memory_bytes": 8e9, "kernel": "6"},
        "model": {
            "name": "resnet18", "version": "1.0", "architecture": "resnet18", "precision": "bf16", "archive": None,
            "sha256": None, "batch_size": BATCH, "batch_delay_s": 0.001,
        },
        "pod": {"workers": 1, "threads": 1, "threads_when_alone": 1, "cold_start_s": 5.0},
        "pictures": {"count": 200, "mean_bytes": 110_000, "source": "photographs"},
        "noise": {
            "steal_share": 0.0, "other_cores": 0.0, "load_before": 0.0, "foreign_requests": 0, "reasons": [],
        },
    }  # fmt: skip
    return Conditions.model_validate(content | changes)


def done(pod: ObservedPod, due: list[float], took: list[float | None]) -> OpenLoad:
    """What the load generator would have of it; of a closed loop the last ones have no answer."""
    says = [""] * len(due)
    for group in pod.groups:
        for number in group.numbers:
            says[number] = (
                f"queue;dur={pod.queue_s[number] * 1e3:.3f}, group;dur={group.group_s * 1e3:.3f};"
                f"desc={len(group.numbers)}, company;desc={group.company}, worker;dur={group.worker_s * 1e3:.3f}"
            )
    answered = [0.0 if seconds is None else at + seconds for at, seconds in zip(due, took, strict=True)]
    status = [0 if seconds is None else 200 for seconds in took]
    return OpenLoad(
        tuple(due), tuple(due), tuple(answered), tuple(status), {}, GENERATOR_S * status.count(200), 1, tuple(says)
    )


def cpu_s(spec: PodSpec, pod: ObservedPod) -> dict[str, float]:
    groups = [len(group.numbers) for group in pod.groups]
    return {
        "web": WEB_S * sum(groups),
        "torchserve": TORCHSERVE_S * sum(groups),
        "workers": sum(spec.worker_cores[0][0] * spec.seconds[0][size - 1] for size in groups),
    }


def open_stage(spec: PodSpec, arrivals: str, load: float, per_s: float, seed: int, requests: int = REQUESTS) -> Stage:
    due = arrival_process(arrivals).times(requests, per_s, seed)
    pod, took = observe(spec, due, seed=seed)
    return Stage(done(pod, due, took), cpu_s(spec, pod), 0, arrivals, load, per_s, seed)


def closed_stage(spec: PodSpec, seed: int) -> Stage:
    clients = CLIENTS * spec.workers
    pod = observe_clients(spec, clients, ROUND_S, seed=seed)
    return Stage(done(pod, pod.due, pod.took), cpu_s(spec, pod), clients)


def stages(spec: PodSpec, requests: int = REQUESTS) -> list[Stage]:
    """As of ``marserve plan measure``."""
    first = closed_stage(spec, 1)
    capacity = first.rate_per_s
    loads = [
        open_stage(spec, arrivals, load, load * capacity, seed, requests)
        for seed, loads in enumerate((LOADS, LOADS[::-1]))
        for arrivals, load in loads
    ]
    return [first, *loads, closed_stage(spec, 2)]


@lru_cache(maxsize=8)
def measured(spec: PodSpec = POD, requests: int = REQUESTS) -> Measurement:
    pod = {"workers": spec.workers, "threads": 1, "threads_when_alone": 1, "cold_start_s": 5.0}
    # As long as usual, also for a test that has shortened its own loads: it is kept for others.
    with mock.patch.multiple("marserve.plan.stages", ROUND_S=ROUND_S, RAMP_S=RAMP_S):
        return evaluate(conditions(pod=pod), stages(spec, requests))


def measurement(**changes: Any) -> Measurement:
    """Of ``POD``; ``changes`` replace whole parts."""
    return Measurement.model_validate(dict(measured()) | changes)


def loaded_pod(spec: PodSpec = POD, **changes: Any) -> PodSpec:
    """``spec`` with the limits of the web service, which the planner's pods have."""
    return replace(spec, max_in_flight=512, deadline_s=10.0, **changes)
