"""``marserve plan measure``: what a pod takes for pictures, in two minutes of load on its web service."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from statistics import fmean
from typing import Any

from marserve import __version__
from marserve.client.errors import ClientError
from marserve.plan import figures
from marserve.plan.arrivals import arrival_process
from marserve.plan.load import MOST_LAG_MS
from marserve.plan.machine import Watch
from marserve.plan.measurement import (
    Conditions,
    MeasuredMachine,
    MeasuredModel,
    MeasuredPictures,
    MeasuredPod,
    Measurement,
    Noise,
)
from marserve.plan.service import LoadedService, MeasuringError, timings
from marserve.plan.stages import ROUND_S, Loader, ReadCpu, Stage, saturated_s
from marserve.terminal import counted

#: Clients of a closed loop for each worker: enough that full groups always wait.
CLIENTS = 32
#: Seconds to warm up, and of a part of each open load.
WARM_UP_S, PART_S = 10.0, 12.0
#: Arrivals and load of the open loads: few pictures at a time, bursts, and a worker that is seldom idle. They run in
#: this order and in the opposite one, so that a machine that grows faster or slower does so for all of them.
LOADS = (("poisson", 0.5), ("gamma-4", 0.6), ("poisson", 0.8))
#: Rounds of the capacity: before, between and after them.
ROUNDS = 3
#: Of all stages.
STAGES = ROUNDS + 2 * len(LOADS)
#: Of all chance: a measurement must repeat. Each part has the next one.
SEED = 18
#: Lowest and highest of the rounds, beyond which the machine was not the same all the time.
MOST_SPREAD = 0.08
#: Of the web service's metrics: how many pictures were sent to workers.
SENT = "web_queue_seconds_count"
#: Answers that a round must have.
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
    cpu_s: ReadCpu = dict


#: Called after each stage, with all so far; what it loads meanwhile is no part of the measurement.
Between = Callable[[Loader, Sequence[Stage]], None]


@dataclass(frozen=True)
class Recording:
    """A measurement's loads, request by request, and what they were made on."""

    conditions: Conditions
    stages: tuple[Stage, ...]

    def evaluated(self) -> Measurement:
        return figures.evaluate(self.conditions, self.stages)


def seconds_planned() -> float:
    """About how long the stages take."""
    return WARM_UP_S + ROUNDS * ROUND_S + 2 * len(LOADS) * PART_S + 1.5 * STAGES


def record(
    service: LoadedService, facts: PodFacts, source: str, between: Between = lambda _loader, _stages: None
) -> Recording:
    """Load ``service``, whose pictures are from ``source``, and keep what came of it. Raises MeasuringError."""
    began = time.monotonic()
    measured_at = datetime.now(timezone.utc).isoformat(timespec="seconds")
    listed = _described(service)
    with service.prepared(), counted("Measuring", "s") as show:

        def alive() -> None:
            show(round(time.monotonic() - began, 1), round(max(seconds_planned(), time.monotonic() - began), 1))

        _warm_up(service, alive)
        workers = _ready_workers(service, listed["name"])
        watch = Watch(lambda: sum(facts.cpu_s().values()) + service.generator_cpu_s + time.process_time())
        answered_before, sent_before = _answered(service), service.sent
        loader = Loader(service, facts.cpu_s, alive)
        stages: list[Stage] = []
        for stage in _stages(loader, CLIENTS * workers):
            stages.append(stage)
            between(loader, stages)
        disturbance = watch.disturbance()
        foreign = _foreign(service, answered_before, sent_before)
    largest = max(timing.pictures for stage in stages for timing in timings(stage.done))
    return Recording(
        Conditions(
            measured_at=measured_at,
            marserve=__version__,
            seconds=round(time.monotonic() - began, 1),
            machine=facts.machine,
            model=MeasuredModel(
                name=listed["name"], version=listed["version"], architecture=listed.get("architecture"),
                precision=listed.get("precision"), archive=facts.archive, sha256=facts.sha256,
                batch_size=facts.batch_size or largest, batch_delay_s=facts.batch_delay_s,
            ),
            pod=MeasuredPod(
                workers=workers, threads=facts.threads, threads_when_alone=facts.threads_when_alone,
                cold_start_s=facts.cold_start_s,
            ),
            pictures=MeasuredPictures(
                count=len(service.pictures), mean_bytes=round(fmean(map(len, service.pictures))), source=source
            ),
            noise=Noise(
                steal_share=round(disturbance.steal_share, 4), other_cores=round(disturbance.other_cores, 3),
                load_before=round(disturbance.load_before, 2), foreign_requests=foreign,
                reasons=(*disturbance.reasons(), *_reasons(stages, foreign)),
            ),
        ),
        tuple(stages),
    )  # fmt: skip


def measure(service: LoadedService, facts: PodFacts, source: str) -> Measurement:
    """What ``record`` keeps says so much of the pod. Raises MeasuringError."""
    return record(service, facts, source).evaluated()


def _stages(loader: Loader, clients: int) -> Iterator[Stage]:
    first = _round(loader, clients)
    yield first
    for part, loads in enumerate((LOADS, LOADS[::-1])):
        for name, load in loads:
            yield loader.open(arrival_process(name), load, load * first.rate_per_s, PART_S, SEED + part)
        yield _round(loader, clients)


def _round(loader: Loader, clients: int) -> Stage:
    stage = loader.closed(clients)
    if len(answers := stage.saturated()) < FEWEST:
        raise MeasuringError(
            f"Only {len(answers)} pictures were answered in {saturated_s():.0f} s: see the service's log."
        )
    return stage


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


def _reasons(stages: Sequence[Stage], foreign: int | None) -> Iterator[str]:
    rounds = [stage for stage in stages if not stage.is_open]
    rates = [stage.rate_per_s for stage in rounds]
    if max(rates) - min(rates) > MOST_SPREAD * fmean(rates):
        between = f"{min(rates):.0f} to {max(rates):.0f}"
        yield f"the same load was answered with {between} pictures a second from round to round"
    late_ms = max(stage.done.lag_p99_ms for stage in stages if stage.is_open)
    if late_ms > MOST_LAG_MS:
        yield f"the load generator itself was {late_ms:.0f} ms late (99th percentile)"
    if foreign:
        yield f"the service answered {foreign} pictures of others meanwhile"
    if failed := sum(len(stage.done.status) - stage.done.status.count(200) for stage in rounds):
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
