"""TorchServe's workers and their memory, read when Prometheus scrapes: TorchServe's own metrics have neither."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from marserve.system.machine import read_machine
from marserve.torchserve.worker_process import resident_bytes
from marserve.web.catalogue import Catalogue


class WorkerMetrics(Collector):
    """Gauges of the models that the catalogue lists."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def describe(self) -> list[GaugeMetricFamily]:
        return _gauges()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        workers, memory, available, total = gauges = _gauges()
        is_current = self._catalogue.is_current
        for model in self._catalogue.models():
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
