"""What Prometheus scrapes from /metrics."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

#: From a cached answer to the deadline, in seconds.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class WebMetrics:
    """The metrics of one service, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter(
            "web_requests", "Answered requests, by route.", ["method", "route", "status"], registry=registry
        )
        self.request_seconds = Histogram(
            "web_request_duration_seconds",
            "From a request's headers to its answer's end.",
            ["route"],
            buckets=BUCKETS,
            registry=registry,
        )
        self.in_flight = Gauge("web_requests_in_flight", "Requests with pictures at work.", registry=registry)
        self.rejected = Counter(
            "web_rejected", "Requests refused before any work: overload, rate or key.", ["reason"], registry=registry
        )
        self.cache = Counter(
            "web_cache_lookups",
            "Pictures by how they were answered: hit, miss, or coalesced with an identical one in flight.",
            ["result"],
            registry=registry,
        )
        self.cache_errors = Counter("web_cache_errors", "Failures of Redis, treated as misses.", registry=registry)
        self.cache_entries = Gauge("web_cache_entries", "Results in memory.", registry=registry)
        self.cache_bytes = Gauge("web_cache_bytes", "Size of the results in memory.", registry=registry)
        self.upstream_seconds = Histogram(
            "web_upstream_duration_seconds", "How long TorchServe took to answer.", buckets=BUCKETS, registry=registry
        )
        self.upstream_errors = Counter(
            "web_upstream_errors",
            "TorchServe's failures, by kind; refused pictures are none.",
            ["kind"],
            registry=registry,
        )
        self.ready = Gauge("web_ready", "1 while /readyz says ready.", registry=registry)
        self.model_ready = Gauge(
            "web_model_ready",
            "1 while the model has a READY worker and answers.",
            ["model", "version"],
            registry=registry,
        )
