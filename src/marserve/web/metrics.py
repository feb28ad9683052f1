"""What Prometheus scrapes from /metrics."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from marserve.system.machine import read_machine
from marserve.system.processes import ProcessRecord, has_id_here, running
from marserve.torchserve.worker_process import resident_bytes
from marserve.web.catalogue import Catalogue

#: Batch sizes.
GROUP_BUCKETS = (1, 2, 4, 8, 16, 32, 64)
#: From a cached answer to the deadline, in seconds.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class WebMetrics:
    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        counter, gauge = partial(Counter, registry=registry), partial(Gauge, registry=registry)
        seconds = partial(Histogram, buckets=BUCKETS, registry=registry)
        self.requests = counter("web_requests", "Answered requests, by route.", ["method", "route", "status"])
        self.request_seconds = seconds(
            "web_request_duration_seconds", "From a request's headers to its answer's end.", ["route"]
        )
        self.in_flight = gauge("web_requests_in_flight", "Requests with pictures in progress.")
        self.connections = gauge("web_connections", "Connections of callers, idle ones included.")
        self.rejected = counter(
            "web_rejected", "Requests refused before any work: overload, rate, key or quarantine.", ["reason"]
        )
        self.quarantined = gauge("web_quarantined_pictures", "Pictures that are refused: workers ended under them.")
        self.cache = counter(
            "web_cache_lookups",
            "Pictures by how they were answered: hit, miss, or coalesced with an identical one in flight.",
            ["result"],
        )
        self.cache_errors = counter("web_cache_errors", "Failures of Redis, treated as misses.")
        self.cache_entries = gauge("web_cache_entries", "Results in memory.")
        self.cache_bytes = gauge("web_cache_bytes", "Size of the results in memory.")
        of_version = ["model", "version"]
        self.queue_seconds = seconds(
            "web_queue_seconds",
            "From a picture's arrival until it is sent to a worker; bulk ones are sent when nothing else waits.",
            [*of_version, "priority"],
        )
        self.queue_pictures = gauge("web_queue_pictures", "Pictures that wait to be sent to a worker.", of_version)
        self.unsent = counter(
            "web_unsent",
            "Pictures that no worker was sent: their answers would have been late (deadline), their time was over "
            "(expired), or nobody waited any more (left).",
            [*of_version, "reason"],
        )
        self.in_vain = counter(
            "web_computed_in_vain",
            "Pictures whose answers nobody waited for: given up before_sending, which is never sent, or at_worker.",
            [*of_version, "given_up"],
        )
        self.group_pictures = Histogram(
            "web_group_pictures",
            "Pictures that were sent to a worker together.",
            of_version,
            buckets=GROUP_BUCKETS,
            registry=registry,
        )
        self.answers = counter(
            "web_answers",
            "Pictures by the version that answered, and how: cached, computed, refused (4xx) or failed (5xx).",
            [*of_version, "outcome"],
        )
        self.worker_seconds = counter(
            "web_worker_seconds", "What workers spent on groups, by their own clock.", of_version
        )
        self.rollout_share = gauge(
            "web_rollout_share", "Share of the live pictures that a version on trial gets.", [*of_version, "mode"]
        )
        self.rollout_failed = counter(
            "web_rollout_failures",
            "Pictures that a version on trial did not answer, and the default version did.",
            [*of_version, "reason"],
        )
        self.rollout_compared = counter(
            "web_rollout_comparisons",
            "Pictures for the version on trial and the default one: they agreed, disagreed, or it was dropped.",
            [*of_version, "result"],
        )
        self.upstream_seconds = seconds("web_upstream_duration_seconds", "How long TorchServe took to answer.")
        self.upstream_errors = counter(
            "web_upstream_errors", "TorchServe's failures, by kind; refused pictures are none.", ["kind"]
        )
        self.feedback = counter(
            "web_feedback", "Reports of wrong answers: kept, refused for want of room (full), or failed.", ["outcome"]
        )
        self.certificate_expires = gauge(
            "web_certificate_expires_timestamp_seconds", "When the certificate expires that is shown; 0 without TLS."
        )
        self.ready = gauge("web_ready", "1 while /readyz says ready.")
        self.model_ready = gauge(
            "web_model_ready", "1 while the model has a READY worker and answers.", ["model", "version"]
        )


class SupervisionMetrics(Collector):
    """Whether the supervisor runs, and what it has restarted, as its file says at each scrape.

    One in another container is not seen from here: whoever runs the containers watches it.
    """

    #: Each is there from the beginning, so that the first restart is seen as an increase.
    SERVICES = ("torchserve", "web", "autoscaler", "worker", "supervisor")

    def __init__(self, file: Path) -> None:
        self._file = file

    def describe(self) -> tuple[CounterMetricFamily, GaugeMetricFamily]:
        text = "Restarts since the stack was started: of its services, of workers, and of the supervisor itself."
        return (
            CounterMetricFamily("supervisor_restarts", text, labels=["service"]),
            GaugeMetricFamily("supervisor_up", "1 while the supervisor runs, which starts again what ends."),
        )

    def collect(self) -> Iterator[Metric]:
        restarts, is_up = families = self.describe()
        with suppress(OSError, ValueError, KeyError, TypeError):  # nobody says
            content = json.loads(self._file.read_text(encoding="utf-8"))
            for service, count in (dict.fromkeys(self.SERVICES, 0) | content["counts"]).items():
                restarts.add_metric([service], count)
            if has_id_here(supervisor := ProcessRecord(**content["supervisor"])):
                is_up.add_metric([], running(supervisor) is not None)
        yield from families


class WorkerMetrics(Collector):
    """TorchServe's workers and their memory, read at each scrape: TorchServe's own metrics have neither."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def describe(self) -> list[GaugeMetricFamily]:
        return _gauges()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        workers, memory, available, total = gauges = _gauges()
        is_current = self._catalogue.is_current
        for model in self._catalogue.models:
            version = model.reported
            # A list that could not be refreshed is no proof that anybody works.
            ready = version.ready_pids if is_current else frozenset()
            workers.add_metric([version.model, version.version, "ready"], len(ready))
            workers.add_metric([version.model, version.version, "listed"], len(version.workers))
            for pid in sorted(ready):
                resident = resident_bytes(pid)
                if resident is not None:
                    memory.add_metric([version.model, version.version, str(pid)], resident)
        machine = read_machine()
        available.add_metric([], machine.available_bytes)
        total.add_metric([], machine.memory_bytes)
        yield from gauges


def _gauges() -> list[GaugeMetricFamily]:
    return [
        GaugeMetricFamily(
            "web_model_workers",
            "TorchServe's workers: listed, and of these READY.",
            labels=["model", "version", "state"],
        ),
        GaugeMetricFamily(
            "web_worker_resident_memory_bytes",
            "Memory of a READY worker; pages that workers share count for each.",
            labels=["model", "version", "pid"],
        ),
        GaugeMetricFamily("web_machine_memory_available_bytes", "Free without swapping, below the container's limit."),
        GaugeMetricFamily("web_machine_memory_bytes", "The memory of the machine, or its container's limit."),
    ]
