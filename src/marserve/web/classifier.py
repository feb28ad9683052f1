"""The way of a picture: cache, identical pictures in flight, TorchServe."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Literal

import anyio
from pydantic import ValidationError

from marserve.handler.resnet18.errors import NotExplainable
from marserve.web.cache import ResultCache, cache_key
from marserve.web.catalogue import Catalogue
from marserve.web.coalescing import Coalescing
from marserve.web.dispatch.urgency import Urgency
from marserve.web.errors import DeadlineExceeded, InferenceFailed, ModelUnavailable
from marserve.web.metrics import WebMetrics
from marserve.web.models import KnownModel
from marserve.web.protection import check_pixels
from marserve.web.readiness import Readiness
from marserve.web.schemas import HandlerAnswer
from marserve.web.upstream.inference import Inference, ModelGone


@dataclass(frozen=True)
class Classified:
    model: KnownModel
    answer: HandlerAnswer
    #: ``hit``: from the cache. ``miss`` also where an identical picture was being worked on.
    cache: Literal["hit", "miss"]


@dataclass(kw_only=True)
class Classifier:
    catalogue: Catalogue
    inference: Inference
    readiness: Readiness
    cache: ResultCache
    metrics: WebMetrics
    deadline_s: float
    max_image_pixels: int
    _in_flight: Coalescing[HandlerAnswer] = field(default_factory=Coalescing, init=False)

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
    ) -> Classified:
        """Classify ``picture`` with the model that the catalogue finds for ``model`` and ``version``.

        ``urgency`` says how long the answer is worth anything: later, DeadlineExceeded is raised.
        ``class_id`` is the class to ``explain``; None: the most probable one.

        The version is named to TorchServe, so that an answer and its cache entry are of the version they claim to be,
        whatever becomes the default meanwhile. Raises RequestError.
        """
        check_pixels(picture, self.max_image_pixels)
        served = self.catalogue.find(model, version)
        try:
            with anyio.fail_after(urgency.give_up - time.monotonic()):
                try:
                    return await self._classify(served, picture, top_k, request_id, explain, class_id)
                except ModelGone:
                    # Its version has been replaced since the catalogue was made.
                    await self.catalogue.refresh()
                    served = self.catalogue.find(model, version)
                    return await self._classify(served, picture, top_k, request_id, explain, class_id)
        except ModelGone as exc:
            raise ModelUnavailable("The model is just being replaced: try again in a few seconds.") from exc
        except TimeoutError as exc:
            raise DeadlineExceeded("The model did not answer in time: try again in a few seconds.") from exc

    async def _classify(
        self, served: KnownModel, picture: bytes, top_k: int, request_id: str, explain: bool, class_id: int | None
    ) -> Classified:
        key = cache_key(picture, served.identity, top_k=top_k, explain=explain, class_id=class_id)
        if served.is_confirmed:
            cached = await self.cache.get(key)
            # What cannot be parsed was written to Redis by something else.
            if cached is not None and (answer := _parse(cached, explain)) is not None:
                self.metrics.cache.labels("hit").inc()
                return Classified(served, answer, "hit")

        async def compute() -> HandlerAnswer:
            body = await self.inference.classify(
                served.name,
                served.version,
                picture,
                top_k=top_k,
                explain=explain,
                class_id=class_id,
                request_id=request_id,
                timeout_s=self.deadline_s,
            )
            answer = _parse(body, explain)
            if answer is None:
                self.metrics.upstream_errors.labels("garbage").inc()
                raise InferenceFailed("The model server's answer cannot be understood: try again.")
            self.readiness.note_answer(served.name, served.version)
            if class_id is not None and answer.explanation and answer.explanation.class_id != class_id:
                raise NotExplainable(
                    "This archive is an old one, which explains its first class alone: build it again."
                )
            if served.is_confirmed:
                await self.cache.put(key, body)
            return answer

        self.metrics.cache.labels("coalesced" if self._in_flight.is_running(key) else "miss").inc()
        return Classified(served, await self._in_flight.run(key, compute), "miss")


def _parse(body: bytes, explain: bool) -> HandlerAnswer | None:
    """The handler's answer, checked where it comes in, so that nothing after it meets garbage; None for that."""
    try:
        answer = HandlerAnswer.model_validate_json(body)
    except ValidationError:
        return None
    return None if explain and answer.explanation is None else answer
