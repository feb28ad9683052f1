"""Counters of TorchServe and of the web service, and what they say about the time between two looks."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

from marserve.manage.running_stack import RunningStack
from marserve.system.loopback import request

#: Labels, sorted, of a sample.
Labels = frozenset[tuple[str, str]]
Samples = Mapping[tuple[str, Labels], float]


@dataclass(frozen=True)
class Look:
    """All samples of both services at one time; those of one that did not answer are missing."""

    time: float = field(default_factory=time.monotonic)
    torchserve: Samples = field(default_factory=dict)
    web: Samples = field(default_factory=dict)


@dataclass(frozen=True)
class Rates:
    """What happened to one version between two looks; None where nothing can be said."""

    requests_per_s: float | None
    #: Mean milliseconds that a request waited for a worker, over all versions of the model.
    queue_ms: float | None


def look(stack: RunningStack) -> Look:
    """Read both. The web service's need an API key where it has any, and are left out then."""
    torchserve = request("GET", stack.ports.metrics_port, "/metrics")
    web = stack.request_web("/metrics")
    return Look(
        torchserve=parse_samples(torchserve.body if torchserve is not None and torchserve.status == 200 else b""),
        web=parse_samples(web.body if web is not None and web.status == 200 else b""),
    )


def rates(before: Look, after: Look, model: str, version: str, *, is_default: bool) -> Rates:
    """Of one version; requests that named none count for the default one."""
    names = {version, "default"} if is_default else {version}
    seconds = after.time - before.time
    requests = _increase(before.torchserve, after.torchserve, "ts_inference_requests_total", model, names)
    if requests is None or seconds <= 0:
        return Rates(None, None)
    return Rates(requests / seconds, _queue_ms(before.torchserve, after.torchserve, model))


def web_rates(before: Look, after: Look) -> dict[str, float]:
    """Answers a second by status class, such as ``2xx``, of the routes that classify."""
    seconds = after.time - before.time
    found: dict[str, float] = {}
    for (name, labels), value in after.web.items():
        told = dict(labels)
        if name == "web_requests_total" and told.get("method") == "POST" and seconds > 0:
            status = told.get("status", "?")[:1] + "xx"
            increase = max(value - before.web.get((name, labels), 0.0), 0.0)
            found[status] = found.get(status, 0.0) + increase / seconds
    return found


def _queue_ms(before: Samples, after: Samples, model: str) -> float | None:
    """By what reached the handler: TorchServe's own count of requests includes those that it refused."""
    # The parser adds "_total" to the name of a counter that has none.
    waited_us = _increase(before, after, "ts_queue_latency_microseconds_total", model)
    handled = _increase(before, after, "handler_requests_total", model)
    return waited_us / handled / 1000 if handled and waited_us is not None else None


def _increase(before: Samples, after: Samples, name: str, model: str, versions: set[str] | None = None) -> float | None:
    """Of ``versions``, or of all; TorchServe's own metrics name the model otherwise than a handler's do."""
    found = None
    for (other, labels), value in after.items():
        told = dict(labels)
        named = model in (told.get("model_name"), told.get("ModelName"))
        if other == name and named and (versions is None or told.get("model_version") in versions):
            # A counter that went down began anew with its server.
            earlier = before.get((other, labels), 0.0)
            found = (found or 0.0) + (value - earlier if value >= earlier else value)
    return found


def parse_samples(body: bytes) -> dict[tuple[str, Labels], float]:
    """The samples of a metrics page."""
    families = text_string_to_metric_families(body.decode(errors="replace"))
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }
