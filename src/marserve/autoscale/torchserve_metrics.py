"""TorchServe's metrics as the sums that observations are made of."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client.parser import text_string_to_metric_families

from marserve.autoscale.observation import Counters

#: Of TorchServe itself, with the label ``model_name``. The parser ends every counter's name in ``_total``.
ARRIVED = "ts_inference_requests_total"
WAITED_US = "ts_queue_latency_microseconds_total"
#: Of the handler, with the label ``ModelName``: TorchServe has no count of the requests that were answered by model.
ANSWERED = "handler_requests_total"
WORKED_S = "handler_batch_seconds_sum"


def read_counters(text: str, models: Sequence[str]) -> dict[str, Counters]:
    """The sums of each model over all versions, out of the answer of ``GET /metrics``; zeros before any request."""
    sums = {(model, name): 0.0 for model in models for name in (ARRIVED, WAITED_US, ANSWERED, WORKED_S)}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.labels.get("model_name") or sample.labels.get("ModelName") or "", sample.name)
            if key in sums:
                sums[key] += sample.value
    return {
        model: Counters(
            sums[model, ARRIVED], sums[model, ANSWERED], sums[model, WAITED_US] / 1e6, sums[model, WORKED_S]
        )
        for model in models
    }
