"""What a worker reports of each batch: times, sizes and errors, for TorchServe to add up over all workers.

Every value is a line on the worker's stdout that TorchServe parses, so there are six a batch and none a picture. All
are sums, or a histogram, since a gauge would show nothing but the latest batch of whichever worker came last; rates
and means over any time and any workers are their quotients. docs/operations.md has their names, units and meanings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, Protocol

from .errors import RequestError
from .requests import PictureRequest

#: TorchServe's word for what is not about the host.
LEVEL = "Model"


class _Metric(Protocol):
    """One of TorchServe's metrics."""

    def add_or_update(self, value: float, dimension_values: list[str]) -> None: ...


class BatchMetrics:
    """Reports batches. A metric that TorchServe's metrics.yaml does not declare is left out."""

    def __init__(self, declared: Any, model_name: str) -> None:
        """``declared`` is TorchServe's cache of metrics, or None where there is none."""
        self._dimensions = [model_name, LEVEL]
        self._batch_seconds = _find(declared, "handler_batch_seconds", "HISTOGRAM")
        self._requests = _find(declared, "handler_requests_total")
        self._pictures = _find(declared, "handler_pictures_total")
        self._picture_bytes = _find(declared, "handler_picture_bytes_total")
        self._decode_seconds = _find(declared, "handler_decode_seconds_total")
        self._inference_seconds = _find(declared, "handler_inference_seconds_total")
        self._error_counter = _find(declared, "handler_errors_total")

    def report(
        self, items: Sequence[object], errors: Iterable[RequestError], moments: tuple[float, float, float, float]
    ) -> None:
        """One batch: its requests, the errors of its requests and pictures, and when, in seconds, it began, was
        decoded, was classified and was answered.
        """
        decode_s, inference_s, _ = (after - before for before, after in pairwise(moments))
        pictures = [
            picture
            for item in items
            if isinstance(item, PictureRequest)
            for picture in item.pictures
            if not isinstance(picture, RequestError)
        ]
        self._add(self._batch_seconds, moments[-1] - moments[0])
        self._add(self._decode_seconds, decode_s)
        self._add(self._inference_seconds, inference_s)
        self._add(self._requests, len(items))
        self._add(self._pictures, len(pictures))
        self._add(self._picture_bytes, sum(map(len, pictures)))
        for kind, count in Counter(type(error).__name__ for error in errors).items():
            # The class's name: nothing that a caller wrote may reach the line, which could forge others.
            self._add(self._error_counter, count, kind)

    def _add(self, metric: _Metric | None, value: float, *dimensions: str) -> None:
        if metric is not None:
            # TorchServe matches dimensions by position, those of its own last.
            metric.add_or_update(round(value, 6), [*dimensions, *self._dimensions])


def _find(declared: Any, name: str, kind: str = "COUNTER") -> _Metric | None:
    if declared is None:
        return None
    # Here, since the rest of this package does without TorchServe.
    from ts.metrics.metric_cache_errors import MetricsCacheKeyError
    from ts.metrics.metric_type_enum import MetricTypes

    try:
        metric: _Metric = declared.get_metric(name, MetricTypes[kind])
    except MetricsCacheKeyError:
        return None
    return metric
