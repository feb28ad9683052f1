"""Whether pictures are really being answered: TorchServe's own ping is healthy while nothing is."""

from __future__ import annotations

import asyncio
import logging
import time
from threading import Event

from marserve.handler.resnet18.errors import RequestError
from marserve.web.catalogue import Catalogue
from marserve.web.dispatch.queues import SILENT_S, PictureQueues
from marserve.web.dispatch.urgency import Urgency
from marserve.web.metrics import WebMetrics
from marserve.web.models import KnownModel
from marserve.web.upstream.inference import PROBE, ModelGone

logger = logging.getLogger(__name__)

#: Seconds between two checks of which models need a probe.
TICK_S = 0.1
#: Seconds between probes of a model that does not answer.
PAUSE_S = 1.0
#: Seconds without an answered picture after which a model is sent one.
PROBE_AFTER_S = 3.0
#: Seconds for that picture.
PROBE_TIMEOUT_S = 3.0

_Key = tuple[str, str]


class Readiness:
    """Knows for each model when it last answered, and sends it a picture where nobody else does."""

    def __init__(self, catalogue: Catalogue, queues: PictureQueues, metrics: WebMetrics, stopping: Event) -> None:
        """``stopping`` is set when the process is about to end: a load balancer is to send no more requests then."""
        self._catalogue = catalogue
        self._queues = queues
        self._metrics = metrics
        self._stopping = stopping
        self._probes: dict[_Key, asyncio.Task[None]] = {}

    def is_ready(self, model: KnownModel) -> bool:
        return not self._reasons_of(model)

    def reasons(self) -> list[str]:
        """Why requests should not be sent here; empty when they should."""
        if self._stopping.is_set():
            return ["The service is stopping."]
        default = self._catalogue.default()
        if default is None:
            return ["TorchServe serves no model, or does not answer."]
        return self._reasons_of(default)

    async def keep_probing(self) -> None:
        """Send pictures where they are needed, and keep the gauges, until cancelled."""
        try:
            while True:
                self._probe_silent_models()
                self._update_metrics()
                await asyncio.sleep(TICK_S)
        finally:
            for task in self._probes.values():
                task.cancel()

    def _reasons_of(self, model: KnownModel) -> list[str]:
        reasons = []
        if not self._catalogue.is_current:
            reasons.append("TorchServe does not answer.")
        elif not model.reported.ready_workers:
            reasons.append(f"No worker of {model.name} {model.version} is READY.")
        if self._silence(model) > SILENT_S:
            reasons.append(f"{model.name} {model.version} has not answered a picture for {SILENT_S:g} s.")
        return reasons

    def _silence(self, model: KnownModel) -> float:
        return time.monotonic() - self._queues.answered_at(model.name, model.version)

    def _probe_silent_models(self) -> None:
        for model in self._catalogue.models:
            key = (model.name, model.version)
            if model.reported.ready_workers and key not in self._probes and self._silence(model) > PROBE_AFTER_S:
                self._probes[key] = asyncio.create_task(self._probe(model))

    async def _probe(self, model: KnownModel) -> None:
        """Have a picture wait as every other does: that it is answered shows that theirs are.

        Callers share the workers, and this is one of them, so that no flood keeps it from its turn.
        """
        key = (model.name, model.version)
        urgency = Urgency("", time.monotonic() + PROBE_TIMEOUT_S)
        try:
            await self._queues.answer(model, f"{PROBE.request_id} {key}", PROBE, urgency)
        except (ModelGone, RequestError) as exc:
            logger.debug("%s %s did not answer the readiness probe: %s", *key, exc)
            await asyncio.sleep(PAUSE_S)
        finally:
            del self._probes[key]

    def _update_metrics(self) -> None:
        self._metrics.ready.set(not self.reasons())
        self._metrics.model_ready.clear()
        for model in self._catalogue.models:
            self._metrics.model_ready.labels(model.name, model.version).set(self.is_ready(model))
