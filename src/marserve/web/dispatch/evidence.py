"""Whether it is the picture that the workers of a version end under, or hang under until TorchServe ends them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from marserve.handler.resnet18.errors import RequestError
from marserve.web.errors import DeadlineExceeded
from marserve.web.quarantine import Suspicion
from marserve.web.upstream.inference import PROBE, ModelGone, PictureCall, WorkerDied

if TYPE_CHECKING:
    from marserve.web.dispatch.queues import PictureQueues


class Evidence:
    """Of one version of a model."""

    def __init__(self, queues: PictureQueues, name: str, version: str) -> None:
        self._queues = queues
        self._version = name, version

    async def control(self, call: PictureCall, give_up: float) -> bool:
        """Before a picture that is suspected to end workers is sent again, see whether another one is answered.

        Where that ends a worker too, it is not the picture that does. Raises TorchServeAway, or DeadlineExceeded where
        that took all the time there was.
        """
        suspicion = self._suspicion_of(call)
        if suspicion is None:
            return False
        timeout_s = give_up - time.monotonic()
        try:
            await self._queues.inference.send(*self._version, [PROBE], as_group=False, timeout_s=timeout_s)
        except WorkerDied:
            await self._queues.quarantine.acquit(suspicion)
        except DeadlineExceeded:
            raise
        except (ModelGone, RequestError):
            pass  # the picture's own attempt shows what it is
        else:
            return True
        return False

    async def is_proven(self, call: PictureCall, *, is_well: bool, hung: bool = False) -> bool:
        """A worker ended under ``call`` alone: whether the picture has ended enough of them by itself.

        ``is_well``: right before it another one was answered. ``hung``: it was TorchServe that ended the worker.
        """
        catalogue = self._queues.catalogue
        before = catalogue.get(*self._version)
        await catalogue.refresh()
        after = catalogue.get(*self._version)
        if before is None or after is None or not catalogue.is_current or call is PROBE:
            return False
        if {worker.id for worker in before.reported.workers} - {worker.id for worker in after.reported.workers}:
            return False  # scaled away
        quarantine = self._queues.quarantine
        return await quarantine.blame(before, call.picture, call.request_id, is_well=is_well, hung=hung)

    async def note_hang(self, calls: Sequence[PictureCall], *, is_alone: bool, is_well: bool) -> None:
        """TorchServe has ended a worker that hung under ``calls``; ``is_alone``: it had nothing else."""
        model = self._queues.catalogue.get(*self._version)
        if len(calls) == 1 and is_alone:
            await self.is_proven(calls[0], is_well=is_well, hung=True)
        elif model is not None:
            await self._queues.quarantine.suspect(model, [call.picture for call in calls if call is not PROBE])

    async def acquit(self, call: PictureCall) -> None:
        """It was answered."""
        if (suspicion := self._suspicion_of(call)) is not None:
            await self._queues.quarantine.acquit(suspicion)

    def _suspicion_of(self, call: PictureCall) -> Suspicion | None:
        model = self._queues.catalogue.get(*self._version)
        return None if model is None else self._queues.quarantine.find(model, call.picture)
