"""Live pictures and a version on trial: a share of them goes to it, and no caller loses anything by that."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from marserve.web.catalogue import REFRESH_S, Catalogue
from marserve.web.dispatch.queues import PictureQueues
from marserve.web.dispatch.urgency import Urgency
from marserve.web.metrics import WebMetrics
from marserve.web.models import KnownModel
from marserve.web.rollout.comparisons import Comparisons, Trial, count_failed, reason_of
from marserve.web.rollout.files import Counts, Order, Seen, seen_beside
from marserve.web.upstream.inference import FAILURES

if TYPE_CHECKING:
    from marserve.web.classifier import Classified

logger = logging.getLogger(__name__)

#: Of a caller's time, what the candidate has before the stable version is asked as well.
PATIENCE = 0.5
#: Of a canary's pictures, those a second that are compared at most: a few hundred decide.
COMPARED_PER_S = 20
#: Has a version answer a request's pictures; where it is told so, only one worker is tried.
Ask = Callable[[KnownModel, bool], Awaitable[Sequence["Classified"]]]


class Turns:
    """Which of many are a share of them: by error diffusion, so that a tenth of 1,000 is 100, whatever chance says."""

    def __init__(self) -> None:
        self._owed = 0.0

    def take(self, share: float, pictures: int = 1) -> bool:
        """Whether these ``pictures``, which belong together, are to be among them."""
        self._owed += share * pictures
        if self._owed < 1 - 1e-9:
            return False
        self._owed -= pictures
        return True


class LiveTraffic:
    """Follows the order in a file, as long as that is renewed; until ``keep_current`` runs there is none."""

    def __init__(self, catalogue: Catalogue, queues: PictureQueues, metrics: WebMetrics) -> None:
        self._catalogue = catalogue
        self._metrics = metrics
        self._instance = os.urandom(8).hex()
        self._order: Order | None = None
        self._counts = Counts()
        self._counted: str | None = None
        self._turns = Turns()
        self._compared_at = 0.0
        self._comparisons = Comparisons(queues, metrics)
        self._complaint = ""
        #: Processes of the candidate's workers.
        self._pids: set[int] = set()

    def trial(self, served: KnownModel) -> Trial | None:
        """What is tried beside ``served``, which a request that names no version would be answered by."""
        order = self._order
        if order is None or not order.is_valid or (served.name, served.version) != (order.model, order.stable):
            return None
        candidate = self._catalogue.get(order.model, order.candidate)
        return None if candidate is None else Trial(order, served, candidate, self._counts)

    async def answer(self, trial: Trial, pictures: Sequence[bytes], urgency: Urgency, ask: Ask) -> Sequence[Classified]:
        """What ``ask`` gets for the ``pictures`` of a request, of one version. Raises as ``ask`` of the stable one."""
        trial.counts.live += len(pictures)
        if trial.order.mode == "canary":
            if not self._turns.take(trial.order.share, len(pictures)):
                return await ask(trial.stable, False)
            answers = await self._canary(trial, len(pictures), urgency, ask)
        else:
            answers = await ask(trial.stable, False)
        for picture, answer in zip(pictures, answers, strict=True):
            # What was known says nothing new.
            if answer.cache == "miss" and self._is_to_be_compared(trial, answer.model):
                self._comparisons.start(trial, picture, answer)
        return answers

    def _is_to_be_compared(self, trial: Trial, answered: KnownModel) -> bool:
        if trial.order.mode == "shadow":
            return self._turns.take(trial.order.share)
        now = time.monotonic()
        if answered is not trial.candidate or now < self._compared_at + 1 / COMPARED_PER_S:
            return False
        self._compared_at = now
        return True

    async def _canary(self, trial: Trial, pictures: int, urgency: Urgency, ask: Ask) -> Sequence[Classified]:
        """The candidate's answers, or the stable version's where they fail or would come too late."""
        if not trial.candidate.reported.ready_workers:
            return await self._fall_back(trial, pictures, "no_worker", ask(trial.stable, False))
        of_candidate = asyncio.ensure_future(ask(trial.candidate, True))
        of_stable: asyncio.Future[Sequence[Classified]] | None = None
        try:
            await asyncio.wait([of_candidate], timeout=(urgency.give_up - time.monotonic()) * PATIENCE)
            if not of_candidate.done():
                of_stable = asyncio.ensure_future(ask(trial.stable, False))
                await asyncio.wait([of_candidate, of_stable], return_when=asyncio.FIRST_COMPLETED)
                if not of_candidate.done() and of_stable.exception() is not None:
                    await asyncio.wait([of_candidate])
            failure = of_candidate.exception() if of_candidate.done() else None
            if of_candidate.done() and failure is None:
                trial.counts.answered += pictures
                return of_candidate.result()
            if failure is not None and not isinstance(failure, FAILURES):
                raise failure
            return await self._fall_back(trial, pictures, reason_of(failure), of_stable or ask(trial.stable, False))
        finally:
            for future in (of_candidate, of_stable):
                if future is not None and not future.done():
                    future.cancel()
                elif future is not None and not future.cancelled():
                    future.exception()  # it was looked at

    async def _fall_back(
        self, trial: Trial, pictures: int, reason: str, of_stable: Awaitable[Sequence[Classified]]
    ) -> Sequence[Classified]:
        """The stable version's answers; the candidate is to blame only for what that does answer."""
        answers = await of_stable
        count_failed(trial, self._metrics, reason, pictures)
        return answers

    async def keep_current(self, file: Path) -> None:
        """Read the order in ``file`` and write what was seen, as often as the catalogue is read, until cancelled."""
        try:
            while True:
                before = self._order
                self._follow(self._read(file))
                self._count_ended_workers()
                if before is not None or self._order is not None:
                    await self._report(file)
                await asyncio.sleep(REFRESH_S)
        finally:
            self._comparisons.cancel()

    def _read(self, file: Path) -> Order | None:
        """The order, where it counts."""
        try:
            order = Order.read(file)
        except (OSError, ValueError) as exc:
            self._complain(f"{file} cannot be read, so all live pictures go to the default version: {exc}")
            return None
        self._complaint = ""
        if order is None or not order.is_valid or order.candidate == order.stable:
            return None
        return order if self._catalogue.get(order.model, order.candidate) else None

    def _follow(self, order: Order | None) -> None:
        was, self._order = self._order, order
        if order is not None and order.id != self._counted:
            self._counted, self._counts = order.id, Counts()
            self._turns = Turns()
        told = None if order is None else order.model_copy(update={"expires": 0.0})
        if told == (None if was is None else was.model_copy(update={"expires": 0.0})):
            return
        self._metrics.rollout_share.clear()
        if order is None:
            logger.info("Live traffic goes to the default version alone")
            return
        self._metrics.rollout_share.labels(order.model, order.candidate, order.mode).set(order.share)
        logger.info(
            "%s %s gets %.3g %% of live traffic, as %s", order.model, order.candidate, order.share * 100, order.mode
        )

    def _count_ended_workers(self) -> None:
        order = self._order
        candidate = None if order is None else self._catalogue.get(order.model, order.candidate)
        if candidate is None:
            self._pids.clear()
            return
        pids = {worker.pid for worker in candidate.reported.workers if worker.pid}
        self._counts.ended_workers += len(self._pids - pids)
        self._pids = pids

    async def _report(self, file: Path) -> None:
        order = None if self._order is None else self._order.id
        seen = Seen(instance=self._instance, order=order, counts=self._counts.model_copy(deep=True))
        try:
            await asyncio.to_thread(seen.write, seen_beside(file))
        except OSError as exc:
            self._complain(f"What live traffic shows cannot be written beside {file}: {exc}")

    def _complain(self, text: str) -> None:
        """Once for the same."""
        if text != self._complaint:
            logger.warning(text)
        self._complaint = text
