"""From what was measured of a pod to what is simulated: ``docs/planning.md`` says how far the two are apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from statistics import fmean

from marserve.plan.measurement import GroupSamples, Measurement
from marserve.plan.pod import PodSpec, simulate

#: Of the web service's work for a picture, what comes before it waits for a worker: its bytes are read then.
ARRIVAL_SHARE = 0.6
#: Groups of one size from which on their seconds are taken as they are; of fewer they are drawn from all sizes.
ENOUGH_GROUPS = 10


def spec_of(
    measurement: Measurement,
    *,
    workers: int | None = None,
    deadline_s: float = inf,
    with_generator: bool = False,
) -> PodSpec:
    """The pod that was measured, or one with other ``workers`` on the same cores.

    ``with_generator``: the load generator takes its share of these cores, as it did when it was measured.
    """
    pod, web, hop = measurement.pod, measurement.web, measurement.hop
    workers = workers or pod.workers
    by_busy = _by_busy(measurement.service)
    web_s = web.mean_s if web.cpu_s_per_picture is None else web.cpu_s_per_picture
    others_s = (web.torchserve_cpu_s_per_picture or 0.0) + (web.generator_cpu_s_per_picture if with_generator else 0.0)
    pause_s = min(hop.between_groups_s, hop.mean_s)
    sizes = range(1, measurement.model.batch_size + 1)
    return PodSpec(
        workers=workers,
        seconds=tuple(
            tuple(_seconds(_nearest(by_busy, busy), size) for size in sizes) for busy in range(1, max(by_busy) + 1)
        ),
        noise=tuple(_noise(measurement.service, size) for size in sizes),
        cores=inf if measurement.machine is None else measurement.machine.cores,
        threads=(_threads(measurement, pod.threads_when_alone), _threads(measurement, pod.threads)),
        arrival_s=ARRIVAL_SHARE * web_s,
        answer_s=(1 - ARRIVAL_SHARE) * web_s,
        beside=others_s / web_s if web_s else 0.0,
        way_s=hop.mean_s - pause_s,
        way_picture_s=hop.per_picture_s,
        pause_s=pause_s,
        besides_s=max(web.mean_s - web_s, 0.0),
        batch_delay_s=measurement.model.batch_delay_s or 0.0,
        deadline_s=deadline_s,
    )


def simulate_pod(
    measurement: Measurement,
    due: Sequence[float],
    *,
    workers: int | None = None,
    seed: int = 0,
    deadline_s: float = inf,
    with_generator: bool = False,
) -> list[float | None]:
    """Seconds until each of ``due``, which rise, is answered; None: refused, or too late."""
    spec = spec_of(measurement, workers=workers, deadline_s=deadline_s, with_generator=with_generator)
    return simulate(spec, due, seed=seed)


def _by_busy(service: Sequence[GroupSamples]) -> dict[int, dict[int, float]]:
    """Mean seconds by busy workers and size."""
    found: dict[int, dict[int, float]] = {}
    for each in service:
        found.setdefault(each.busy, {})[each.pictures] = each.mean_s
    return found


def _nearest(by_busy: Mapping[int, Mapping[int, float]], busy: int) -> Mapping[int, float]:
    return by_busy[min(by_busy, key=lambda known: abs(known - busy))]


def _seconds(known: Mapping[int, float], size: int) -> float:
    """Between the nearest sizes that were measured; beyond them along the line through the two last ones."""
    if size in known or len(known) == 1:
        return known.get(size, next(iter(known.values())))
    sizes = sorted(known)
    above = next((one for one in sizes if one > size), sizes[-1])
    below = sizes[max(sizes.index(above) - 1, 0)]
    if above == below:
        above = sizes[1]
    slope = (known[above] - known[below]) / (above - below)
    return max(known[below] + slope * (size - below), 0.0)


def _noise(service: Sequence[GroupSamples], size: int) -> tuple[float, ...]:
    """Factors of the mean, 1 on average."""
    own = [each for each in service if each.pictures == size and each.count >= ENOUGH_GROUPS] or list(service)
    factors = [seconds / each.mean_s for each in own for seconds in each.samples_s if each.mean_s]
    mean = fmean(factors) if factors else 1.0
    return tuple(factor / mean for factor in factors) or (1.0,)


def _threads(measurement: Measurement, threads: int | None) -> float:
    """Cores that a worker really takes while it is at work: some of its work is not done by all threads."""
    cpu_s, capacity = measurement.web.worker_cpu_s_per_picture, measurement.capacity
    if cpu_s is None or not capacity.worker_busy:
        return float(threads or 1)
    taken = cpu_s * capacity.per_s / (capacity.worker_busy * measurement.pod.workers)
    return max(min(taken, float(threads or inf)), 1.0)
