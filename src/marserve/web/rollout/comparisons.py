"""The same picture for both versions, in the background: whether they agree, and how long each takes."""

from __future__ import annotations

import asyncio
import itertools
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from marserve.handler.resnet18.errors import RequestError
from marserve.web.dispatch.queues import PictureQueues
from marserve.web.dispatch.urgency import Urgency
from marserve.web.errors import Overloaded, WouldBeLate
from marserve.web.metrics import WebMetrics
from marserve.web.models import KnownModel
from marserve.web.rollout.files import Counts, Order
from marserve.web.schemas import HandlerAnswer
from marserve.web.upstream.inference import FAILURES, PictureCall, WorkerDied

if TYPE_CHECKING:
    from marserve.web.classifier import Classified

#: Pictures that are being compared at once, and their bytes: what callers send is never kept for longer queues.
MAX_COMPARED, MAX_COMPARED_BYTES = 4, 32_000_000
#: Seconds for one version to answer a picture that is compared.
COMPARE_S = 5.0
#: Of the compared pictures, one in so many is sent to each version alone, twice, to measure how long it takes; and so
#: many are enough.
PAIR_EVERY, MOST_PAIRS = 3, 1000
#: Seconds in which workers may have nothing else to do, before a pair; and between two looks.
GAP_S, GAP_POLL_S = 0.2, 0.005
#: Its request id.
COMPARISON = "comparison"


@dataclass(frozen=True)
class Trial:
    order: Order
    stable: KnownModel
    candidate: KnownModel
    #: What is seen of it.
    counts: Counts


class Comparisons:
    """Those that are being made, where workers have nothing else to do."""

    def __init__(self, queues: PictureQueues, metrics: WebMetrics) -> None:
        self._queues = queues
        self._metrics = metrics
        self._tasks: set[asyncio.Task[None]] = set()
        self._bytes = 0
        self._numbers = itertools.count()

    def cancel(self) -> None:
        for task in self._tasks:
            task.cancel()

    def start(self, trial: Trial, picture: bytes, said: Classified) -> None:
        """Have the version that did not say ``said`` answer ``picture``, too; not where workers are busy."""
        has_room = (
            len(self._tasks) < MAX_COMPARED
            and self._bytes + len(picture) <= MAX_COMPARED_BYTES
            and self._is_free(trial.stable)
            and self._is_free(trial.candidate)
        )
        if not has_room:
            self._count_compared(trial, "dropped")
            return
        self._bytes += len(picture)
        task = asyncio.create_task(self._compare(trial, picture, said))
        self._tasks.add(task)

        def end(ended: asyncio.Task[None]) -> None:
            self._tasks.discard(ended)
            self._bytes -= len(picture)

        task.add_done_callback(end)

    def _is_free(self, model: KnownModel) -> bool:
        return model.reported.ready_workers > 0 and self._queues.has_room(model)

    async def _compare(self, trial: Trial, picture: bytes, said: Classified) -> None:
        """Have the other version answer ``picture``, too."""
        is_shadow = said.model is trial.stable
        other = trial.candidate if is_shadow else trial.stable
        asked = other
        pair: dict[str, float] = {}
        answer: HandlerAnswer | None = None
        try:
            answer, _ = await self._measure(other, picture)
            number = next(self._numbers)
            if number % PAIR_EVERY == 0 and len(trial.counts.pairs) < MOST_PAIRS:
                for asked in (trial.stable, trial.candidate):
                    await self._measure(asked, picture)
                pair = await self._measure_pair(trial, picture)
        except (WouldBeLate, Overloaded):
            pass  # what has been answered until then counts
        except FAILURES as failure:
            if is_shadow and asked is trial.candidate and await self._is_answered(trial.stable, picture):
                count_failed(trial, self._metrics, reason_of(failure))
                return
        if answer is None:
            self._count_compared(trial, "dropped")
            return
        if is_shadow:
            trial.counts.answered += 1
        agree = _first(answer) == _first(said.answer)
        self._count_compared(trial, "agreed" if agree else "disagreed")
        if len(pair) == 2:
            stable, candidate = (round(pair[model.version] * 1e6) for model in (trial.stable, trial.candidate))
            trial.counts.pairs.append((stable, candidate))

    async def _measure_pair(self, trial: Trial, picture: bytes) -> dict[str, float]:
        """Seconds that each version takes for a picture that both have just had, in a gap if there is one soon.

        Both at the same time: one after the other, the candidate would share the processor with all workers of the
        stable version, and that one with all of them but its own. A version that has little to do finds its caches cold
        and its threads asleep, and seems slower than it is, hence the picture before.
        """
        give_up = time.monotonic() + GAP_S
        while time.monotonic() < give_up and not (self._is_free(trial.stable) and self._is_free(trial.candidate)):
            await asyncio.sleep(GAP_POLL_S)
        versions = (trial.stable, trial.candidate)
        measured = await asyncio.gather(*(self._measure(one, picture) for one in versions), return_exceptions=True)
        # What failed now failed before, or will again: here it is only no measurement.
        return {
            model.version: result[1]
            for model, result in zip(versions, measured, strict=True)
            if not isinstance(result, BaseException)
        }

    async def _is_answered(self, model: KnownModel, picture: bytes) -> bool:
        with suppress(*FAILURES):
            await self._measure(model, picture)
            return True
        return False

    async def _measure(self, model: KnownModel, picture: bytes) -> tuple[HandlerAnswer, float]:
        urgency = Urgency("", time.monotonic() + COMPARE_S, is_bulk=True)
        return await self._queues.measure(model, PictureCall(picture, 1, COMPARISON), urgency)

    def _count_compared(self, trial: Trial, result: str) -> None:
        trial.counts.dropped += result == "dropped"
        trial.counts.compared += result != "dropped"
        trial.counts.disagreed += result == "disagreed"
        self._metrics.rollout_compared.labels(trial.candidate.name, trial.candidate.version, result).inc()


def _first(answer: HandlerAnswer) -> list[tuple[int, str]]:
    """What a caller would call the answer."""
    return [(first.class_id, first.label) for first in answer.predictions[:1]]


def count_failed(trial: Trial, metrics: WebMetrics, reason: str, pictures: int = 1) -> None:
    trial.counts.failed[reason] = trial.counts.failed.get(reason, 0) + pictures
    metrics.rollout_failed.labels(trial.candidate.name, trial.candidate.version, reason).inc(pictures)


def reason_of(failure: BaseException | None) -> str:
    """Of a metric's label: few values."""
    if failure is None:
        return "slow"
    if isinstance(failure, WorkerDied) and failure.__cause__ is None:  # else it is the answer that failed a group
        return "worker_died"
    if isinstance(failure, RequestError) and failure.status < 500:
        return "refused"
    return "failed"
