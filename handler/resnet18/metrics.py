"""What a worker reports of each batch: times, sizes and errors, for TorchServe to add up over all workers.

Every value is a line on the worker's stdout that TorchServe parses, so there are six a batch and none a picture. All
are sums, or a histogram, since a gauge would show nothing but the latest batch of whichever worker came last; rates
and means over any time and any workers are their quotients. docs/operations.md has their names, units and meanings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any

from .errors import RequestError
from .groups import Buffer

#: TorchServe's word for what is not about the host.
LEVEL = "Model"
METRICS = {
    "handler_batch_seconds": "HISTOGRAM",
    "handler_requests_total": "COUNTER",
    "handler_pictures_total": "COUNTER",
    "handler_picture_bytes_total": "COUNTER",
    "handler_decode_seconds_total": "COUNTER",
    "handler_inference_seconds_total": "COUNTER",
    "handler_errors_total": "COUNTER",
}


class BatchMetrics:
    """Reports batches. A metric that TorchServe's metrics.yaml does not declare is left out."""

    def __init__(self, declared: Any, model_name: str) -> None:
        """``declared`` is TorchServe's cache of metrics, or None where there is none."""
        self._dimensions = [model_name, LEVEL]
        self._metrics: dict[str, Any] = {}
        if declared is None:
            return
        # Here, since the rest of this package does without TorchServe.
        from ts.metrics.metric_cache_errors import MetricsCacheKeyError
        from ts.metrics.metric_type_enum import MetricTypes

        for name, kind in METRICS.items():
            with suppress(MetricsCacheKeyError):
                self._metrics[name] = declared.get_metric(name, MetricTypes[kind])

    def report(
        self,
        requests: int,
        pictures: Sequence[Buffer | RequestError],
        errors: Iterable[RequestError],
        moments: tuple[float, float, float, float],
    ) -> None:
        """One batch: its requests as TorchServe counts them, its pictures as they came, the errors of its requests and
        pictures, and when, in seconds, it began, was decoded, was classified and was answered.
        """
        decode_s, inference_s, _ = (after - before for before, after in pairwise(moments))
        sizes = [len(picture) for picture in pictures if not isinstance(picture, RequestError)]
        self._add("handler_batch_seconds", moments[-1] - moments[0])
        self._add("handler_decode_seconds_total", decode_s)
        self._add("handler_inference_seconds_total", inference_s)
        self._add("handler_requests_total", requests)
        self._add("handler_pictures_total", len(sizes))
        self._add("handler_picture_bytes_total", sum(sizes))
        for kind, count in Counter(type(error).__name__ for error in errors).items():
            # The class's name: nothing that a caller wrote may reach the line, which could forge others.
            self._add("handler_errors_total", count, kind)

    def _add(self, name: str, value: float, *dimensions: str) -> None:
        if name in self._metrics:
            # TorchServe matches dimensions by position, those of its own last.
            self._metrics[name].add_or_update(round(value, 6), [*dimensions, *self._dimensions])
