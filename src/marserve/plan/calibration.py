"""From what was measured of a pod to what is simulated: ``docs/planning.md`` says how far the two are apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import inf
from statistics import fmean, median

from marserve.plan.measurement import GroupSamples, Measurement
from marserve.plan.pod import simulate
from marserve.plan.pod_spec import PodSpec

#: What the web service allows where nothing else is set: pictures in flight, and seconds for each.
MAX_IN_FLIGHT, REQUEST_DEADLINE_S = 512, 10.0
#: Of the web service's work for a picture, what comes before it waits for a worker: its bytes are read then.
ARRIVAL_SHARE = 0.6
#: Groups of one size from which on their spread is their own; of fewer it is that of all sizes.
ENOUGH_GROUPS = 10
#: Times the median beyond which a group met something else on the machine, which few groups would make the rule.
OUTLIER = 1.5
#: Pictures of the runs that find the model's capacity, the rate at which they come, and how often it is adjusted.
SATURATING, OVERLOAD, ADJUSTMENTS = 1500, 1.5, 5


def spec_of(
    measurement: Measurement,
    *,
    workers: int | None = None,
    deadline_s: float = REQUEST_DEADLINE_S,
    with_generator: bool = False,
) -> PodSpec:
    """The pod that was measured, or one with other ``workers`` on the same cores.

    A picture alone takes what it was measured to. A full group takes what makes the model's capacity the measured one:
    whatever else works while groups are measured, and takes their cores, would be counted twice otherwise. Sizes
    between are on a line. ``with_generator``: the load generator takes its share of these cores, as it did then.
    """
    pod, web, hop = measurement.pod, measurement.web, measurement.hop
    web_s = web.mean_s if web.cpu_s_per_picture is None else web.cpu_s_per_picture
    others_s = web.torchserve_cpu_s_per_picture or 0.0
    on_its_cores = measurement.machine is not None
    beside = [(others_s + share) / web_s if web_s else 0.0 for share in (0.0, web.generator_cpu_s_per_picture)]
    pause_s = min(hop.between_groups_s, hop.mean_s)
    sizes = range(1, measurement.model.batch_size + 1)
    as_loaded = PodSpec(
        workers=pod.workers,
        seconds=_seconds(measurement, 1.0),
        noise=tuple(_noise(measurement.service, size) for size in sizes),
        cores=inf if measurement.machine is None else measurement.machine.cores,
        threads=(_threads(measurement, pod.threads_when_alone), _threads(measurement, pod.threads)),
        arrival_s=ARRIVAL_SHARE * web_s,
        answer_s=(1 - ARRIVAL_SHARE) * web_s,
        beside=beside[on_its_cores],
        way_s=hop.mean_s - pause_s,
        way_picture_s=hop.per_picture_s,
        pause_s=pause_s,
        besides_s=max(web.mean_s - web_s, 0.0),
        batch_delay_s=measurement.model.batch_delay_s or 0.0,
    )
    factor = 1.0
    for _ in range(ADJUSTMENTS):
        full_s = as_loaded.seconds[-1][-1]
        wanted_s, group_s = (
            len(sizes) * pod.workers / per_s for per_s in (measurement.capacity.per_s, saturated_per_s(as_loaded))
        )
        factor *= max(1 + (wanted_s - group_s) / full_s, 0.5)
        as_loaded = replace(as_loaded, seconds=_seconds(measurement, factor))
    return replace(
        as_loaded,
        workers=workers or pod.workers,
        beside=beside[with_generator and on_its_cores],
        max_in_flight=MAX_IN_FLIGHT,
        deadline_s=deadline_s,
    )


def saturated_per_s(spec: PodSpec) -> float:
    """Pictures a second of a pod that more come to than it can answer; its noise changes nothing of that."""
    spec = replace(spec, noise=((1.0,),), max_in_flight=inf, deadline_s=inf)
    due = [number / (OVERLOAD * spec.capacity_per_s) for number in range(SATURATING)]
    answered = sorted(at + took for at, took in zip(due, simulate(spec, due), strict=True) if took is not None)
    first, last = SATURATING // 10, SATURATING * 9 // 10
    return (last - first) / (answered[last] - answered[first])


def simulate_pod(
    measurement: Measurement,
    due: Sequence[float],
    *,
    workers: int | None = None,
    seed: int = 0,
    deadline_s: float = REQUEST_DEADLINE_S,
    with_generator: bool = False,
) -> list[float | None]:
    """Seconds until each of ``due``, which rise, is answered; None: refused, or too late."""
    spec = spec_of(measurement, workers=workers, deadline_s=deadline_s, with_generator=with_generator)
    return simulate(spec, due, seed=seed)


def _seconds(measurement: Measurement, factor: float) -> tuple[tuple[float, ...], ...]:
    """By busy workers and size: on a line from a lone picture to a full group, whose seconds take ``factor``."""
    by_busy: dict[int, dict[int, float]] = {}
    for each in measurement.service:
        by_busy.setdefault(each.busy, {})[each.pictures] = fmean(_usual(each))
    largest = measurement.model.batch_size
    found = []
    for busy in range(1, max(by_busy) + 1):
        known = by_busy[min(by_busy, key=lambda one: abs(one - busy))]
        lone_s, full_s = _at(known, 1), factor * _at(known, largest)
        each_s = (full_s - lone_s) / (largest - 1) if largest > 1 else 0.0
        if each_s < 0 or largest == 1:  # all of it is one
            lone_s, each_s = full_s / largest, full_s / largest
        found.append(tuple(lone_s + each_s * number for number in range(largest)))
    return tuple(found)


def _at(known: Mapping[int, float], size: int) -> float:
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


def _usual(groups: GroupSamples) -> list[float]:
    """The samples without outliers."""
    most = OUTLIER * median(groups.samples_s)
    return [seconds for seconds in groups.samples_s if seconds <= most]


def _noise(service: Sequence[GroupSamples], size: int) -> tuple[float, ...]:
    """Factors of the mean, 1 on average."""
    own = [each for each in service if each.pictures == size and each.count >= ENOUGH_GROUPS] or list(service)
    factors = [seconds / mean for each in own if (mean := fmean(_usual(each))) for seconds in _usual(each)]
    mean = fmean(factors) if factors else 1.0
    return tuple(factor / mean for factor in factors) or (1.0,)


def _threads(measurement: Measurement, threads: int | None) -> float:
    """Cores that a worker really takes while it is at work: some of its work is not done by all threads."""
    cpu_s, capacity = measurement.web.worker_cpu_s_per_picture, measurement.capacity
    if cpu_s is None or not capacity.worker_busy:
        return float(threads or 1)
    taken = cpu_s * capacity.per_s / (capacity.worker_busy * measurement.pod.workers)
    return max(min(taken, float(threads or inf)), 1.0)
