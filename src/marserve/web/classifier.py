"""The way of a picture: cache, identical pictures in flight, TorchServe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import anyio
from pydantic import ValidationError

from marserve.web.cache import ResultCache, cache_key
from marserve.web.catalogue import Catalogue
from marserve.web.coalescing import Coalescing
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


class Classifier:
    """Answers pictures, each within the deadline."""

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        inference: Inference,
        readiness: Readiness,
        cache: ResultCache,
        metrics: WebMetrics,
        deadline_s: float,
        max_image_pixels: int,
    ) -> None:
        self._catalogue = catalogue
        self._inference = inference
        self._readiness = readiness
        self._cache = cache
        self._metrics = metrics
        self._deadline_s = deadline_s
        self._max_image_pixels = max_image_pixels
        self._in_flight: Coalescing[HandlerAnswer] = Coalescing()

    async def classify(
        self,
        picture: bytes,
        *,
        top_k: int,
        request_id: str,
        model: str | None = None,
        version: str | None = None,
        explain: bool = False,
    ) -> Classified:
        """Classify ``picture`` with the model that the catalogue finds for ``model`` and ``version``.

        The version is named to TorchServe, so that an answer and its cache entry are of the version they claim to be,
        whatever becomes the default meanwhile. Raises WebError.
        """
        check_pixels(picture, self._max_image_pixels)
        served = self._catalogue.find(model, version)
        try:
            with anyio.fail_after(self._deadline_s):
                try:
                    return await self._classify(served, picture, top_k, request_id, explain)
                except ModelGone:
                    # Its version has been replaced since the catalogue was made.
                    await self._catalogue.refresh()
                    served = self._catalogue.find(model, version)
                    return await self._classify(served, picture, top_k, request_id, explain)
        except ModelGone as exc:
            raise ModelUnavailable("The model is just being replaced: try again in a few seconds.") from exc
        except TimeoutError as exc:
            raise DeadlineExceeded("The model did not answer in time: try again in a few seconds.") from exc

    async def _classify(
        self, served: KnownModel, picture: bytes, top_k: int, request_id: str, explain: bool
    ) -> Classified:
        key = cache_key(picture, served.identity, top_k=top_k, explain=explain)
        if served.is_confirmed:
            answer = await self._look_up(key, explain)
            if answer is not None:
                self._metrics.cache.labels("hit").inc()
                return Classified(served, answer, "hit")

        async def compute() -> HandlerAnswer:
            body = await self._inference.classify(
                served.name,
                served.version,
                picture,
                top_k=top_k,
                explain=explain,
                request_id=request_id,
                timeout_s=self._deadline_s,
            )
            answer = self._check(body, explain)
            self._readiness.note_answer(served.name, served.version)
            if served.is_confirmed:
                await self._cache.put(key, body)
            return answer

        self._metrics.cache.labels("coalesced" if self._in_flight.is_running(key) else "miss").inc()
        return Classified(served, await self._in_flight.run(key, compute), "miss")

    async def _look_up(self, key: str, explain: bool) -> HandlerAnswer | None:
        body = await self._cache.get(key)
        # None also where something else wrote to Redis.
        return None if body is None else _parse(body, explain)

    def _check(self, body: bytes, explain: bool) -> HandlerAnswer:
        answer = _parse(body, explain)
        if answer is None:
            self._metrics.upstream_errors.labels("garbage").inc()
            raise InferenceFailed("The model server's answer cannot be understood: try again.")
        return answer


def _parse(body: bytes, explain: bool) -> HandlerAnswer | None:
    """The handler's answer, checked where it comes in, so that nothing after it meets garbage; None for that."""
    try:
        answer = HandlerAnswer.model_validate_json(body)
    except ValidationError:
        return None
    return None if explain and answer.explanation is None else answer
