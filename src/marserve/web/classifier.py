"""The way of a picture: cache, and what waits for TorchServe."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import anyio

from marserve.handler.resnet18.errors import RequestError
from marserve.web.cache import ResultCache, cache_key
from marserve.web.catalogue import Catalogue
from marserve.web.dispatch.queues import PictureQueues
from marserve.web.dispatch.urgency import Urgency
from marserve.web.errors import DeadlineExceeded, ModelUnavailable
from marserve.web.metrics import WebMetrics
from marserve.web.models import KnownModel
from marserve.web.protection import check_pixels
from marserve.web.rollout.traffic import LiveTraffic
from marserve.web.schemas import HandlerAnswer
from marserve.web.tracing.context import current
from marserve.web.upstream.inference import ModelGone, PictureCall, PictureTiming, WorkerDied


@dataclass(frozen=True)
class Classified:
    model: KnownModel
    answer: HandlerAnswer
    #: ``hit``: from the cache. ``miss`` also where an identical picture was being worked on.
    cache: Literal["hit", "miss"]
    #: None where the answer was known already.
    timing: PictureTiming | None = None


@dataclass(kw_only=True)
class Classifier:
    catalogue: Catalogue
    queues: PictureQueues
    cache: ResultCache
    traffic: LiveTraffic
    metrics: WebMetrics
    max_image_pixels: int

    async def classify(
        self,
        picture: bytes,
        *,
        top_k: int,
        request_id: str,
        urgency: Urgency,
        model: str | None = None,
        version: str | None = None,
        explain: bool = False,
        class_id: int | None = None,
        one_try: bool = False,
    ) -> Classified:
        """Classify ``picture`` with the model that the catalogue finds for ``model`` and ``version``.

        ``urgency`` says how long the answer is worth anything: what would be later is refused, or given up.
        ``class_id`` is the class to ``explain``; None: the most probable one. Where a caller names no ``version`` a
        version on trial may answer. ``one_try``: where the worker ends, no other is tried.

        The version is named to TorchServe, so that an answer and its cache entry are of the version they claim to be,
        whatever becomes the default meanwhile. Raises RequestError, and with ``one_try`` ModelGone and WorkerDied.
        """
        pixels = check_pixels(picture, self.max_image_pixels)
        trace, timing = current.get(), PictureTiming()
        call = PictureCall(picture, top_k, request_id, explain, class_id, pixels, trace, timing)
        served = self.catalogue.find(model, version)
        try:
            trial = self.traffic.trial(served) if version is None else None
            if trial is None:
                return await self._classify(served, call, urgency, one_try=one_try)

            async def ask(version: KnownModel, one_try: bool) -> Sequence[Classified]:
                return [await self._classify(version, call, urgency, one_try=one_try)]

            (classified,) = await self.traffic.answer(trial, [picture], urgency, ask)
            return classified
        except ModelGone:
            if one_try:
                raise
            # Its version has been replaced since the catalogue was made.
            try:
                with anyio.fail_after(urgency.give_up - time.monotonic()):
                    await self.catalogue.refresh()
                return await self._classify(self.catalogue.find(model, version), call, urgency)
            except TimeoutError as exc:
                raise DeadlineExceeded("The model did not answer in time: try again in a few seconds.") from exc
            except ModelGone as exc:
                raise ModelUnavailable("The model is just being replaced: try again in a few seconds.") from exc

    async def _classify(
        self, served: KnownModel, call: PictureCall, urgency: Urgency, *, one_try: bool = False
    ) -> Classified:
        key = cache_key(call.picture, served.identity, top_k=call.top_k, explain=call.explain, class_id=call.class_id)
        if served.was_last:
            cached = await self.cache.get(key)
            # What cannot be parsed was written to Redis by something else.
            if cached is not None and (answer := HandlerAnswer.read(cached, explain=call.explain)) is not None:
                self.metrics.cache.labels("hit").inc()
                self._count(served, "cached")
                return Classified(served, answer, "hit")
        self.metrics.cache.labels("coalesced" if self.queues.is_asked(key) else "miss").inc()
        keep = partial(self.cache.put, key) if served.is_confirmed else None
        try:
            answer = await self.queues.answer(served, key, call, urgency, keep, one_try=one_try)
        except RequestError as error:
            self._count(served, "refused" if error.status < 500 else "failed")
            raise
        except WorkerDied:
            self._count(served, "failed")
            raise
        self._count(served, "computed")
        return Classified(served, answer, "miss", call.timing)

    def _count(self, served: KnownModel, outcome: str) -> None:
        self.metrics.answers.labels(served.name, served.version, outcome).inc()
