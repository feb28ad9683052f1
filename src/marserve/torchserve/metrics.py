"""TorchServe's metrics: its Prometheus page as sums for each model, and what two pages say about the time between."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

#: Of TorchServe itself, with the label ``model_name``. The parser ends every counter's name in ``_total``.
ARRIVED = "ts_inference_requests_total"
WAITED_US = "ts_queue_latency_microseconds_total"
#: Of the handler, with the label ``ModelName``: TorchServe has no count of the requests that were answered by model.
ANSWERED = "handler_requests_total"
PICTURES = "handler_pictures_total"
WORKED_S = "handler_batch_seconds_sum"


@dataclass(frozen=True)
class Counters:
    """Sums since TorchServe was started, over all versions of a model."""

    #: Requests that came, those that were refused included; a group of pictures is one request.
    arrived: float = 0.0
    #: Requests that a worker answered.
    answered: float = 0.0
    #: Seconds that the answered ones waited for a worker, together.
    waited_s: float = 0.0
    #: Seconds that workers were at work, together.
    worked_s: float = 0.0
    #: Pictures of the answered requests.
    pictures: float = 0.0

    @property
    def pictures_per_request(self) -> float:
        """Of those that were answered; 1 where none was, or none had a picture."""
        return max(1.0, self.pictures / self.answered) if self.answered else 1.0

    def since(self, earlier: Counters) -> Counters:
        """The increase. A counter that went down began anew with its server: then it is the increase itself."""
        if self.arrived < earlier.arrived or self.answered < earlier.answered:
            return self
        return Counters(
            self.arrived - earlier.arrived,
            self.answered - earlier.answered,
            max(0.0, self.waited_s - earlier.waited_s),
            max(0.0, self.worked_s - earlier.worked_s),
            max(0.0, self.pictures - earlier.pictures),
        )


@dataclass(frozen=True)
class Rates:
    """What happened to one version between two pages; None where nothing can be said."""

    #: Pictures count, of which a group has several.
    requests_per_s: float | None
    #: Mean milliseconds that an answered request waited in TorchServe, over all versions of the model.
    queue_ms: float | None


def read_samples(page: str) -> list[Sample]:
    return [sample for family in text_string_to_metric_families(page) for sample in family.samples]


def model_counters(samples: Sequence[Sample], model: str) -> Counters:
    """The sums of ``model`` over all its versions; zeros before any request."""
    arrived, answered, waited_us, worked_s, pictures = (
        _total(samples, name, model) or 0.0 for name in (ARRIVED, ANSWERED, WAITED_US, WORKED_S, PICTURES)
    )
    return Counters(arrived, answered, waited_us / 1e6, worked_s, pictures)


def rates(
    before: Sequence[Sample], after: Sequence[Sample], seconds: float, model: str, version: str, *, is_default: bool
) -> Rates:
    """Of one version, by two pages that lie ``seconds`` apart; requests that named none count for the default one."""
    names = {version, "default"} if is_default else {version}
    arrived = _total(after, ARRIVED, model, names)
    if arrived is None or seconds <= 0:
        return Rates(None, None)
    earlier = _total(before, ARRIVED, model, names) or 0.0
    # By what reached the handler: TorchServe's own count of requests includes those that it refused.
    traffic = model_counters(after, model).since(model_counters(before, model))
    queue_ms = traffic.waited_s / traffic.answered * 1000 if traffic.answered else None
    # A counter that went down began anew with its server.
    increase = arrived - earlier if arrived >= earlier else arrived
    return Rates(increase * traffic.pictures_per_request / seconds, queue_ms)


def _total(samples: Sequence[Sample], name: str, model: str, versions: Collection[str] | None = None) -> float | None:
    """Of ``versions``, or of all; TorchServe's own metrics name the model otherwise than a handler's do."""
    found = [
        sample.value
        for sample in samples
        if sample.name == name
        and model in (sample.labels.get("model_name"), sample.labels.get("ModelName"))
        and (versions is None or sample.labels.get("model_version") in versions)
    ]
    return sum(found) if found else None
