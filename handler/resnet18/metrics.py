"""What a worker reports of its batches: times, sizes and errors, for TorchServe to add up over all workers.

Every value is a line on the worker's stdout that TorchServe parses, so they are added up here first. All are sums, or a
histogram, since a gauge would show nothing but the latest batch of whichever worker came last; rates and means over any
time and any workers are their quotients. docs/operations.md has their names, units and meanings.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import pairwise
from threading import Event, Lock, Thread
from typing import Any

from .errors import RequestError
from .groups import Buffer

#: TorchServe's word for what is not about the host.
LEVEL = "Model"
BATCH_SECONDS = "handler_batch_seconds"
METRICS = {
    BATCH_SECONDS: "HISTOGRAM",
    "handler_requests_total": "COUNTER",
    "handler_pictures_total": "COUNTER",
    "handler_picture_bytes_total": "COUNTER",
    "handler_decode_seconds_total": "COUNTER",
    "handler_inference_seconds_total": "COUNTER",
    "handler_errors_total": "COUNTER",
}
#: Seconds for which batches are added up: what is lost when a worker is killed, and how old a figure can be.
REPORT_INTERVAL_S = 0.1


class BatchMetrics:
    """Adds up batches and reports them, in a thread of its own, after the answers that they are about.

    A metric that TorchServe's metrics.yaml does not declare is left out.
    """

    def __init__(self, declared: Any, model_name: str) -> None:
        """``declared`` is TorchServe's cache of metrics, or None where there is none."""
        self._dimensions = [model_name, LEVEL]
        self._metrics: dict[str, Any] = {}
        self._lock = Lock()
        self._sums: dict[tuple[str, ...], float] = {}
        self._batch_seconds: list[float] = []
        self._has_news = Event()
        if declared is None:
            return
        # Here, since the rest of this package does without TorchServe.
        from ts.metrics.metric_cache_errors import MetricsCacheKeyError
        from ts.metrics.metric_type_enum import MetricTypes

        for name, kind in METRICS.items():
            with suppress(MetricsCacheKeyError):
                self._metrics[name] = declared.get_metric(name, MetricTypes[kind])
        if self._metrics:
            Thread(target=self._report_regularly, name="metrics", daemon=True).start()

    def add(
        self,
        requests: int,
        pictures: Sequence[Buffer | RequestError],
        errors: Iterable[RequestError],
        moments: tuple[float, float, float, float],
    ) -> None:
        """One batch: its requests as TorchServe counts them, its pictures as they came, the errors of its requests and
        pictures, and when, in seconds, it began, was decoded, was classified and was answered.
        """
        if not self._metrics:
            return
        decode_s, inference_s, _ = (after - before for before, after in pairwise(moments))
        sizes = [len(picture) for picture in pictures if not isinstance(picture, RequestError)]
        with self._lock:
            self._batch_seconds.append(moments[-1] - moments[0])
            self._increase("handler_decode_seconds_total", decode_s)
            self._increase("handler_inference_seconds_total", inference_s)
            self._increase("handler_requests_total", requests)
            self._increase("handler_pictures_total", len(sizes))
            self._increase("handler_picture_bytes_total", sum(sizes))
            for error in errors:
                # The class's name: nothing that a caller wrote may reach a line, which could forge others.
                self._increase("handler_errors_total", 1, type(error).__name__)
        self._has_news.set()

    def report(self) -> None:
        """Write all that was added and not reported yet."""
        with self._lock:
            for seconds in self._batch_seconds:
                self._write(BATCH_SECONDS, seconds)
            for (name, *dimensions), value in self._sums.items():
                self._write(name, value, *dimensions)
            self._batch_seconds.clear()
            self._sums.clear()

    def _increase(self, name: str, value: float, *dimensions: str) -> None:
        key = (name, *dimensions)
        self._sums[key] = self._sums.get(key, 0) + value

    def _write(self, name: str, value: float, *dimensions: str) -> None:
        if name in self._metrics:
            # TorchServe matches dimensions by position, those of its own last.
            self._metrics[name].add_or_update(round(value, 6), [*dimensions, *self._dimensions])

    def _report_regularly(self) -> None:
        while True:
            self._has_news.wait()
            time.sleep(REPORT_INTERVAL_S)
            self._has_news.clear()
            self.report()
