"""From what was measured of a pod to what is simulated: ``docs/planning.md`` says how far the two are apart.

What a worker took for a group was measured under load, while the web service and the load generator took their share of
the cores. What it takes undisturbed are the seconds with which the simulation of the same loads shows the same times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import inf
from statistics import fmean, median

from marserve.plan.arrivals import arrival_process
from marserve.plan.groups import line
from marserve.plan.measurement import GroupSamples, Measurement
from marserve.plan.observed import AnsweredGroup, observe, observe_clients
from marserve.plan.pod_spec import PodSpec, nearest

#: What the web service allows where nothing else is set: pictures in flight, and seconds for each.
MAX_IN_FLIGHT, REQUEST_DEADLINE_S = 512, 10.0
#: Of the web service's work for a picture, what comes before it waits for a worker: its bytes are read then.
ARRIVAL_SHARE = 0.6
#: Groups of one size from which on their times are their own; of fewer they are those on the line through all sizes.
ENOUGH_GROUPS = 30
#: How often the seconds are adjusted: the third changes them by less than a thousandth.
ADJUSTMENTS = 3
#: Seconds of simulated clients, and until they keep the workers busy.
CLIENTS_S, RAMP_S = 20.0, 1.0

#: By busy workers and pictures of a group.
BySize = Mapping[tuple[int, int], float]


def spec_of(
    measurement: Measurement,
    *,
    workers: int | None = None,
    deadline_s: float = REQUEST_DEADLINE_S,
    with_generator: bool = False,
) -> PodSpec:
    """The pod that was measured, or one with other ``workers`` on the same cores.

    ``with_generator``: the load generator takes its share of these cores, as it did then.
    """
    spec = _adjusted(measurement)
    return replace(
        spec,
        workers=workers or spec.workers,
        beside=_beside(measurement, with_generator=with_generator),
        max_in_flight=MAX_IN_FLIGHT,
        deadline_s=deadline_s,
    )


def _adjusted(measurement: Measurement) -> PodSpec:
    """With the load generator on its cores; without noise until its seconds are known, which that does not change."""
    groups = measurement.groups
    measured = {key: _mean([one for one in groups if (one.busy, one.pictures) == key]) for key in _keys(groups)}
    seconds = _table(measurement, measured)
    for _ in range(ADJUSTMENTS):
        simulated = _simulated(measurement, _spec(measurement, seconds))
        known = {
            (busy, size): nearest(seconds, busy)[size - 1] * measured_s / simulated.get((busy, size), measured_s)
            for (busy, size), measured_s in measured.items()
        }
        seconds = _table(measurement, known)
    spec = _spec(measurement, seconds)
    sizes = range(1, measurement.model.batch_size + 1)
    return replace(spec, noise=tuple(_noise(groups, size) for size in sizes), pace=measurement.pace)


def _spec(measurement: Measurement, seconds: tuple[tuple[float, ...], ...]) -> PodSpec:
    overhead, processors = measurement.overhead, measurement.processors
    if processors is None:
        picture_s, group_s, wake_s = overhead.web_s, 0.0, 0.0
    else:
        picture_s, group_s, wake_s = processors.web.picture_s, processors.web.group_s, processors.web.wake_s
    whole_s = median(overhead.samples_s) if overhead.samples_s else 0.0
    pause_s = min(overhead.between_groups_s, whole_s)
    # Some of the web service's work is a part of the way: it sends the group, and reads the answer.
    way_s = max(whole_s - pause_s - picture_s - group_s - wake_s, 0.0)
    known_s = way_s + pause_s + picture_s + group_s + wake_s
    return PodSpec(
        workers=measurement.pod.workers,
        seconds=seconds,
        cores=inf if measurement.machine is None else measurement.machine.cores,
        worker_cores=_worker_cores(measurement, seconds),
        arrival_s=ARRIVAL_SHARE * picture_s,
        answer_s=(1 - ARRIVAL_SHARE) * picture_s,
        answer_group_s=group_s,
        beside=_beside(measurement, with_generator=True),
        way_s=way_s,
        # The way to an idle worker has the pause in it.
        way_picture_s=max(overhead.hop_picture_s - overhead.between_picture_s, 0.0),
        pause_s=pause_s,
        pause_picture_s=overhead.between_picture_s,
        wake_s=wake_s,
        batch_delay_s=measurement.model.batch_delay_s or 0.0,
        besides_s=tuple(each - known_s for each in overhead.samples_s) or (0.0,),
    )


def _simulated(measurement: Measurement, spec: PodSpec) -> BySize:
    """The mean times of groups in the loads of the measurement.

    Each load counts for a size as often as it was measured there.
    """
    weighted: dict[tuple[int, int], list[tuple[float, int]]] = {}

    def note(groups: Sequence[AnsweredGroup], real: Sequence[GroupSamples]) -> None:
        found: dict[tuple[int, int], list[float]] = {}
        for one in groups:
            found.setdefault((min(one.company, spec.workers), len(one.numbers)), []).append(one.worker_s)
        for each in real:
            if seconds := found.get((each.busy, each.pictures)):
                weighted.setdefault((each.busy, each.pictures), []).append((fmean(seconds), each.count))

    for run in measurement.runs:
        process = arrival_process(run.arrivals)
        parts = [process.times(run.requests // len(run.seeds), run.per_s, seed) for seed in run.seeds]
        note([one for due in parts for one in observe(spec, due)[0].groups], run.groups)
    clients = observe_clients(spec, measurement.capacity.clients, CLIENTS_S)
    groups = [one for one in clients.groups if RAMP_S <= one.answered_at <= CLIENTS_S]
    note(groups, measurement.capacity.groups)
    return {
        key: sum(mean * count for mean, count in loads) / sum(count for _, count in loads)
        for key, loads in weighted.items()
    }


def _beside(measurement: Measurement, *, with_generator: bool) -> float:
    """Cores of TorchServe, and of the load generator, for each that the web service takes."""
    if (processors := measurement.processors) is None:
        return 0.0
    pictures = sum(each.count * each.pictures for each in measurement.groups)
    groups = sum(each.count for each in measurement.groups)
    web_s, torchserve_s, generator_s = (
        cost.of(pictures, groups) for cost in (processors.web, processors.torchserve, processors.generator)
    )
    return (torchserve_s + generator_s * with_generator) / web_s if web_s else 0.0


def _worker_cores(measurement: Measurement, seconds: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...]:
    """Cores that a worker takes while it is at work: some of its work is not done by all its threads."""
    pod, processors = measurement.pod, measurement.processors
    if processors is None:
        return ((1.0,),)
    return tuple(
        tuple(
            max(
                min(processors.worker.of(size) / each_s, (pod.threads_when_alone if busy == 1 else pod.threads) or inf),
                1.0,
            )
            for size, each_s in enumerate(sizes, 1)
        )
        for busy, sizes in enumerate(seconds, 1)
    )


def _keys(groups: Sequence[GroupSamples]) -> list[tuple[int, int]]:
    return sorted({(each.busy, each.pictures) for each in groups})


def _mean(groups: Sequence[GroupSamples]) -> float:
    return sum(each.mean_s * each.count for each in groups) / sum(each.count for each in groups)


def _table(measurement: Measurement, known: BySize) -> tuple[tuple[float, ...], ...]:
    """By busy workers and size: what is ``known``, and where that are too few groups the line through all of them."""
    counts: dict[tuple[int, int], int] = {}
    for each in measurement.groups:
        counts[each.busy, each.pictures] = counts.get((each.busy, each.pictures), 0) + each.count
    by_busy: dict[int, dict[int, tuple[float, int]]] = {}
    for (busy, size), seconds in known.items():
        by_busy.setdefault(busy, {})[size] = (seconds, counts[busy, size])
    # Of one worker among many that is alone large groups are hardly ever seen.
    lines = {busy: line(own) for busy, own in by_busy.items() if len(own) > 1} or {1: line(by_busy[max(by_busy)])}
    found = []
    for busy in range(1, max(by_busy) + 1):
        own = by_busy.get(busy, {})
        fixed_s, each_s = lines[min(lines, key=lambda one: abs(one - busy))]
        found.append(
            tuple(
                own[size][0] if size in own and own[size][1] >= ENOUGH_GROUPS else fixed_s + each_s * size
                for size in range(1, measurement.model.batch_size + 1)
            )
        )
    return tuple(found)


def _noise(groups: Sequence[GroupSamples], size: int) -> tuple[float, ...]:
    """Factors of the mean, 1 on average: of groups of this size, and of all where they are few."""
    own = [each for each in groups if each.pictures == size]
    if sum(each.count for each in own) < ENOUGH_GROUPS:
        own = list(groups)
    factors = [seconds / each.mean_s for each in own if each.mean_s for seconds in each.samples_s]
    mean = fmean(factors) if factors else 1.0
    return tuple(factor / mean for factor in factors) or (1.0,)
