"""``marserve plan measure``: what a pod takes for pictures, in two minutes of load on its web service."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from statistics import fmean, median
from typing import Any

from marserve import __version__
from marserve.client.errors import ClientError
from marserve.plan import figures
from marserve.plan.arrivals import arrival_process
from marserve.plan.figures import RAMP_S, ROUND_S, Collected
from marserve.plan.load import MOST_LAG_MS
from marserve.plan.machine import Watch
from marserve.plan.measurement import (
    MeasuredCapacity,
    MeasuredMachine,
    MeasuredModel,
    MeasuredPictures,
    MeasuredPod,
    Measurement,
    Noise,
)
from marserve.plan.service import LoadedService, MeasuringError, timings
from marserve.terminal import counted

#: Clients of a closed loop for each worker: enough that full groups always wait.
CLIENTS = 32
#: Seconds of each stage; bursts of every size with pauses, then requests at their own times.
WARM_UP_S, BURSTS_S, RUN_S = 4.0, 24.0, 14.0
#: Rounds of the capacity: two before all else, and two after it, so that a machine that changes is noticed.
ROUNDS = 2
#: Bursts come so far apart that the workers are at rest half of the time.
BURSTS_LOAD = 0.5
#: Arrivals and load of the open runs.
RUNS = (("poisson", 0.5), ("poisson", 0.85), ("gamma-4", 0.7))
#: Of all chance: a measurement must repeat.
SEED = 18
#: Lowest and highest of the rounds, beyond which the machine was not the same all the time.
MOST_SPREAD = 0.08
#: Of the web service's metrics: how many pictures were sent to workers.
SENT = "web_queue_seconds_count"
#: Answers that a measurement must have to be one.
FEWEST = 50


@dataclass(frozen=True)
class PodFacts:
    """What is known of the pod from elsewhere; of one on another machine little."""

    machine: MeasuredMachine | None = None
    archive: str | None = None
    sha256: str | None = None
    batch_size: int | None = None
    batch_delay_s: float | None = None
    threads: int | None = None
    threads_when_alone: int | None = None
    cold_start_s: float | None = None
    #: Processor seconds so far of ``web``, ``torchserve`` and ``workers``; empty where they are elsewhere.
    cpu_s: Callable[[], Mapping[str, float]] = dict


def seconds_planned() -> float:
    """About how long the stages take."""
    return WARM_UP_S + 2 * ROUNDS * ROUND_S + BURSTS_S + len(RUNS) * RUN_S + 1.5 * (2 * ROUNDS + 2 + len(RUNS))


def measure(service: LoadedService, facts: PodFacts, source: str) -> Measurement:
    """Load ``service``, whose pictures are from ``source``, and say what came of it. Raises MeasuringError."""
    began = time.monotonic()
    measured_at = datetime.now(timezone.utc).isoformat(timespec="seconds")
    listed = _described(service)
    own = facts.cpu_s
    with service.prepared(), counted("Measuring", "s") as show:

        def alive() -> None:
            show(round(time.monotonic() - began, 1), round(max(seconds_planned(), time.monotonic() - began), 1))

        _warm_up(service, alive)
        workers = _ready_workers(service, listed["name"])
        watch = Watch(lambda: sum(own().values()) + service.generator_cpu_s + time.process_time())
        answered_before = _answered(service)
        sent_before = service.sent
        found = Collected()
        clients = CLIENTS * workers
        for _ in range(ROUNDS):
            _round(service, clients, facts, found, alive)
        capacity = median(figures.rates(found.rounds))
        batch_size = facts.batch_size or max(timing.pictures for timing in found.saturated)
        found.bursts = service.send(bursts(capacity, workers, batch_size), alive=alive)
        for name, load in RUNS:
            rate = load * capacity
            due = arrival_process(name).times(max(int(rate * RUN_S), 1), rate, SEED)
            done = service.send(due, alive=alive)
            found.runs.append((figures.open_run(name, load, rate, done), done))
        for _ in range(ROUNDS):
            _round(service, clients, facts, found, alive)
        disturbance = watch.disturbance()
        foreign = _foreign(service, answered_before, sent_before)
    rates = figures.rates(found.rounds)
    measured = MeasuredCapacity(
        per_s=median(rates), clients=clients, rounds_per_s=tuple(round(rate, 2) for rate in rates),
        mean_group=fmean(timing.pictures for timing in found.saturated),
        worker_busy=figures.busy_share(found, workers), loaded=figures.by_size(found.saturated, workers),
    )  # fmt: skip
    reasons = [*disturbance.reasons(), *_reasons(found, measured, foreign)]
    return Measurement(
        measured_at=measured_at,
        marserve=__version__,
        seconds=round(time.monotonic() - began, 1),
        machine=facts.machine,
        model=MeasuredModel(
            name=listed["name"], version=listed["version"], architecture=listed.get("architecture"),
            precision=listed.get("precision"), archive=facts.archive, sha256=facts.sha256,
            batch_size=batch_size, batch_delay_s=facts.batch_delay_s,
        ),
        pod=MeasuredPod(
            workers=workers, threads=facts.threads, threads_when_alone=facts.threads_when_alone,
            cold_start_s=facts.cold_start_s,
        ),
        pictures=MeasuredPictures(
            count=len(service.pictures), mean_bytes=round(fmean(map(len, service.pictures))), source=source
        ),
        service=figures.by_size(timings(found.bursts), workers),
        hop=figures.hop(found, workers),
        web=figures.web(found),
        capacity=measured,
        runs=tuple(run for run, _ in found.runs),
        noise=Noise(
            steal_share=round(disturbance.steal_share, 4), other_cores=round(disturbance.other_cores, 3),
            load_before=round(disturbance.load_before, 2), foreign_requests=foreign, reasons=tuple(reasons),
        ),
    )  # fmt: skip


def bursts(capacity: float, workers: int, batch_size: int) -> list[float]:
    """When requests are due that come in bursts of 1 to two groups for each worker, with pauses, in a random order.

    A group of every size so meets a worker that little else takes the cores from.
    """
    source = random.Random(SEED)  # noqa: S311 - a measurement, which must repeat
    most = 2 * batch_size * workers
    due: list[float] = []
    now = 0.05
    sizes: list[int] = []
    while now < BURSTS_S:
        if not sizes:
            sizes = source.sample(range(1, most + 1), most)
        size = sizes.pop()
        due += [now] * size
        now += size / capacity / BURSTS_LOAD + 0.02 * source.random()
    return due


def _described(service: LoadedService) -> dict[str, Any]:
    """What /models says of the model that is measured."""
    try:
        content = json.loads(service.ask("/models"))
        name = service.address.model or content["default"]
        return next(model for model in content["models"] if model["name"] == name)
    except ClientError as exc:
        raise MeasuringError(f"{exc}{' Give it with --api-key.' if exc.status == 401 else ''}") from exc
    except StopIteration as exc:
        raise MeasuringError(f"The service has no model {service.address.model or 'that is ready'}.") from exc
    except (ValueError, KeyError, TypeError) as exc:
        raise MeasuringError(f"{service.address.url} is no web service of Marserve.") from exc


def _warm_up(service: LoadedService, alive: Callable[[], None]) -> None:
    """Also finds out whether pictures are answered at all, and how. Raises MeasuringError."""
    load = service.send(clients=4, seconds=WARM_UP_S, alive=alive)
    statuses = Counter(status for status in load.status if status not in (0, 200))
    answered = load.status.count(200)
    if statuses or load.failures or not answered:
        status = statuses.most_common(1)[0][0] if statuses else 0
        advice = {
            400: "a picture cannot be read; leave it out of --pictures",
            401: "it needs a key: --api-key",
            403: "the key may not: another --api-key",
            413: "a picture is too large for it; leave it out of --pictures",
            415: "a picture has a format that it does not read; leave it out of --pictures",
            429: "its rate limit stands in the way: measure a service without MARSERVE_RATE_LIMIT_PER_MINUTE",
            503: "it is overloaded, or the model is not ready",
        }.get(status, "see its log")
        kinds = ", ".join(
            [
                *(f"{count} × status {code}" for code, count in statuses.items()),
                *(f"{count} × {reason}" for reason, count in load.failures.items()),
            ]
        )
        raise MeasuringError(
            f"Of {len(load.status)} requests to warm up {answered} were answered ({kinds or 'none failed'}): {advice}."
        )
    if not timings(load):
        raise MeasuringError(
            "The answers do not say in Server-Timing how long workers took: the service is of an older version."
        )


def _round(service: LoadedService, clients: int, facts: PodFacts, found: Collected, alive: Callable[[], None]) -> None:
    before, generator_before = facts.cpu_s(), service.generator_cpu_s
    load = service.send(clients=clients, seconds=ROUND_S, alive=alive)
    after = facts.cpu_s()
    found.cpu_s.update({name: after[name] - before.get(name, 0.0) for name in after})
    found.generator_s += service.generator_cpu_s - generator_before
    found.rounds.append(load)
    found.saturated += [one for one in timings(load) if RAMP_S <= load.answered[one.number] <= ROUND_S]
    if len(found.saturated) < FEWEST:
        raise MeasuringError(
            f"Only {len(found.saturated)} pictures were answered in {ROUND_S:.0f} s: see the service's log."
        )


def _reasons(found: Collected, capacity: MeasuredCapacity, foreign: int | None) -> Iterator[str]:
    if capacity.spread > MOST_SPREAD:
        rounds = " to ".join(f"{rate:.0f}" for rate in (min(capacity.rounds_per_s), max(capacity.rounds_per_s)))
        yield f"the same load was answered with {rounds} pictures a second from round to round"
    late = max(run.lag_p99_s for run, _ in found.runs)
    if late * 1e3 > MOST_LAG_MS:
        yield f"the load generator itself was {late * 1e3:.0f} ms late (99th percentile)"
    if foreign:
        yield f"the service answered {foreign} pictures of others meanwhile"
    if failed := sum(len(load.status) - load.status.count(200) for load in found.rounds):
        yield f"{failed} requests got no answer while the clients were as many as the service takes"


def _ready_workers(service: LoadedService, model: str) -> int:
    """By the service's metrics; 1 where they cannot be read."""
    listed = (sample for sample in service.metrics() if sample.name == "web_model_workers")
    ready = [one.value for one in listed if (one.labels.get("state"), one.labels.get("model")) == ("ready", model)]
    return max(int(sum(ready)), 1)


def _answered(service: LoadedService) -> int | None:
    counts = [sample.value for sample in service.metrics() if sample.name == SENT]
    return int(sum(counts)) if counts else None


def _foreign(service: LoadedService, before: int | None, sent_before: int) -> int | None:
    after = _answered(service)
    return None if before is None or after is None else max(after - before - (service.sent - sent_before), 0)
