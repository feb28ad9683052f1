"""What happened to a model between two samples.

Its pictures wait in the web service; in TorchServe waits the next group of them, and what came to TorchServe itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prometheus_client.samples import Sample

from marserve.torchserve.metrics import Counters

#: Of the web service, by model and version.
SENT, WAITED_S = "web_queue_seconds_count", "web_queue_seconds_sum"
UNSENT = "web_unsent_total"
WAITING = "web_queue_pictures"
#: Of all models together: who is refused so was not yet asked which one is meant.
REJECTED = "web_rejected_total"


@dataclass(frozen=True)
class WebCounters:
    """Sums since the web service was started, over all versions of a model; pictures unless they say otherwise."""

    #: Sent to workers, and seconds that these had waited, together.
    sent: float = 0.0
    waited_s: float = 0.0
    #: Dropped, or refused because they would have been late.
    unsent: float = 0.0
    #: Sent or not, of all models, and requests that were refused before their model was known.
    all_models: float = 0.0
    rejected: float = 0.0

    def since(self, earlier: WebCounters) -> WebCounters:
        """The increase; what went down began anew with its server."""
        if self.sent < earlier.sent or self.all_models < earlier.all_models:
            return self
        return WebCounters(
            self.sent - earlier.sent,
            self.waited_s - earlier.waited_s,
            self.unsent - earlier.unsent,
            self.all_models - earlier.all_models,
            self.rejected - earlier.rejected,
        )

    @property
    def refused(self) -> float:
        """Pictures that no worker was sent, with the model's share of those that were for any of them."""
        share = (self.sent + self.unsent) / self.all_models if self.all_models else 0.0
        return self.unsent + share * self.rejected


def web_counters(samples: Sequence[Sample], model: str) -> WebCounters:
    """The sums of ``model``; zeros before any picture."""

    def total(name: str, of: str | None = model) -> float:
        return sum(
            sample.value for sample in samples if sample.name == name and of in (None, sample.labels.get("model"))
        )

    rejected = sum(
        sample.value for sample in samples if sample.name == REJECTED and sample.labels.get("reason") == "overload"
    )
    return WebCounters(total(SENT), total(WAITED_S), total(UNSENT), total(SENT, None) + total(UNSENT, None), rejected)


def web_waiting(samples: Sequence[Sample], model: str, version: str | None = None) -> int:
    """Pictures of ``model``, or of one version of it, that wait in the web service now."""
    waiting = (one for one in samples if one.name == WAITING and one.labels.get("model") == model)
    return int(sum(one.value for one in waiting if version in (None, one.labels.get("version"))))


def traffic(torchserve: Counters, web: WebCounters, waiting_growth: int) -> Counters:
    """The increases at both servers as one, in pictures; ``waiting_growth`` more wait in the web service than before.

    A picture waits in the web service, and in its request in TorchServe. It has arrived if it was answered, is on its
    way, waits, or was not sent.
    """
    each = torchserve.pictures_per_request
    answered = torchserve.answered * each
    on_way = (torchserve.arrived - torchserve.answered) * each
    return Counters(
        arrived=answered + on_way + web.refused + waiting_growth,
        answered=answered,
        waited_s=web.waited_s + torchserve.waited_s * each,
        worked_s=torchserve.worked_s,
        pictures=answered,
    )
