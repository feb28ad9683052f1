"""The event loop's side of dispatching: a queue for each version of a model, sent to TorchServe group by group."""

from __future__ import annotations

import asyncio
import itertools
import math
import time

from starlette.requests import ClientDisconnect

from marserve.web.catalogue import Catalogue
from marserve.web.dispatch.jobs import Job, Reason
from marserve.web.dispatch.lane import AWAY, Keep, Lane, Waiting
from marserve.web.dispatch.urgency import Urgency
from marserve.web.errors import DeadlineExceeded, ModelUnavailable, Overloaded, PictureQuarantined, WouldBeLate
from marserve.web.metrics import WebMetrics
from marserve.web.models import KnownModel
from marserve.web.quarantine import Quarantine
from marserve.web.schemas import HandlerAnswer
from marserve.web.tracing.context import Tracing
from marserve.web.upstream.inference import PROBE, Inference, PictureCall, WorkerDied

#: Bytes of the pictures of a group, so that none waits long for the others to be copied.
MAX_GROUP_BYTES = 4_000_000
#: Pixels of a picture beyond which it goes alone. A photograph of as many has most of the bytes of a group; what has
#: fewer was made to keep a worker busy, up to four seconds, and eight of those are as long as TorchServe lets one live.
MAX_GROUP_PIXELS = 8_000_000
#: Seconds since the last answered picture after which a TorchServe that lists no models is sent none any more.
SILENT_S = 8.0


class PictureQueues:
    """What waits for TorchServe's workers, and what they are at work on. Identical pictures are asked for once."""

    def __init__(
        self,
        catalogue: Catalogue,
        inference: Inference,
        metrics: WebMetrics,
        quarantine: Quarantine,
        tracing: Tracing,
        *,
        max_image_bytes: int,
        max_waiting_bytes: int,
    ) -> None:
        self.catalogue = catalogue
        self.inference = inference
        self.metrics = metrics
        self.quarantine = quarantine
        self.tracing = tracing
        # TorchServe takes the largest picture, and so a group of as many bytes.
        self.max_group_bytes = min(MAX_GROUP_BYTES, max_image_bytes)
        self._max_waiting_bytes = max_waiting_bytes
        self._waiting_bytes = 0
        self._jobs: dict[str, Job] = {}
        self._measured = itertools.count()
        self._lanes: dict[tuple[str, str], Lane] = {}
        catalogue.on_refresh = self._follow

    def is_asked(self, key: str) -> bool:
        """Whether ``answer`` would join others."""
        return key in self._jobs

    def answered_at(self, name: str, version: str) -> float:
        """When a worker of this version last classified a picture, by ``time.monotonic()``."""
        lane = self._lanes.get((name, version))
        return -math.inf if lane is None else lane.answered_at

    def has_room(self, model: KnownModel) -> bool:
        """Whether a worker of this version has nothing to do, and nothing waits for one."""
        lane = self._lanes.get((model.name, model.version))
        if lane is None:
            return True
        dispatcher = lane.dispatcher
        return not dispatcher.waiting and len(dispatcher.on_way) < dispatcher.capacity.groups_at_work

    async def answer(
        self,
        model: KnownModel,
        key: str,
        call: PictureCall,
        urgency: Urgency,
        keep: Keep | None = None,
        *,
        one_try: bool = False,
    ) -> HandlerAnswer:
        """What a worker says to ``call``; calls with the same ``key`` are one.

        It belongs to nobody: whoever waits may leave without harm to the others. Raises ModelGone or RequestError, and
        with ``one_try`` WorkerDied at once where others have the picture sent again.
        """
        self._check_it_answers(model, call)
        now = time.monotonic()
        lane = self._lane(model)
        job = self._jobs.get(key)
        if job is None:
            job = self._submit(lane, model, Waiting(key, call, keep), urgency, now)
        else:
            lane.dispatcher.join(job, urgency, now)
        spans = None if call.trace is None else call.trace.begin_picture(job.content, *lane.labels)
        if spans is None:
            return await self._wait(lane, job, urgency, now, one_try=one_try)
        try:
            return await self._wait(lane, job, urgency, now, one_try=one_try)
        except BaseException as error:
            spans.leave(error)
            raise

    async def measure(self, model: KnownModel, call: PictureCall, urgency: Urgency) -> tuple[HandlerAnswer, float]:
        """The answer of a worker that has this picture alone, and the seconds from sending it until that was here.

        What other pictures a group has, and how many, so makes no difference. Raises ModelGone, WorkerDied or
        RequestError.
        """
        now = time.monotonic()
        lane = self._lane(model)
        waiting = Waiting(f"measured {next(self._measured)}", call, None)
        job = self._submit(lane, model, waiting, urgency, now, goes_alone=True)
        answer = await self._wait(lane, job, urgency, now, one_try=True)
        return answer, waiting.took_s

    def _lane(self, model: KnownModel) -> Lane:
        lane = self._lanes.get((model.name, model.version))
        if lane is None:
            lane = self._lanes[model.name, model.version] = Lane(self, model)
        return lane

    async def _wait(self, lane: Lane, job: Job, urgency: Urgency, now: float, *, one_try: bool) -> HandlerAnswer:
        lane.wake()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[HandlerAnswer] = loop.create_future()
        (job.content.futures_of_one_try if one_try else job.content.futures).append(future)
        timer = loop.call_later(max(urgency.give_up - now, 0), self._expire, lane, job, urgency, future)
        try:
            return await future
        except (asyncio.CancelledError, WorkerDied):
            lane.dispatcher.leave(job, urgency, time.monotonic())
            raise
        finally:
            timer.cancel()

    def _check_it_answers(self, model: KnownModel, call: PictureCall) -> None:
        """Raise ModelUnavailable where TorchServe has been silent for so long that it hangs; probes try it still."""
        silent_s = time.monotonic() - self.answered_at(model.name, model.version)
        if not self.catalogue.is_current and silent_s > SILENT_S and call is not PROBE:
            raise ModelUnavailable("The model server does not answer: try again in a few seconds.")

    def _submit(
        self, lane: Lane, model: KnownModel, waiting: Waiting, urgency: Urgency, now: float, *, goes_alone: bool = False
    ) -> Job:
        suspicion = self.quarantine.find(model, waiting.call.picture)
        if suspicion is not None and suspicion.is_proven:
            self.metrics.rejected.labels("quarantine").inc()
            raise PictureQuarantined()
        size_bytes = len(waiting.call.picture)
        if self._waiting_bytes + size_bytes > self._max_waiting_bytes:
            self.metrics.rejected.labels("overload").inc()
            raise Overloaded("The pictures in progress have too many bytes: try again in a moment.")
        goes_alone |= waiting.call.explain or waiting.call.pixels > MAX_GROUP_PIXELS or suspicion is not None
        job = Job(waiting, size_bytes, goes_alone=goes_alone)
        job.deaths = suspicion.deaths if suspicion else 0
        try:
            lane.dispatcher.submit(job, urgency, now)
        except WouldBeLate:
            self.metrics.unsent.labels(*lane.labels, "deadline").inc()
            raise
        self._waiting_bytes += size_bytes
        self._jobs[waiting.key] = job
        return job

    def _expire(self, lane: Lane, job: Job, urgency: Urgency, future: asyncio.Future[HandlerAnswer]) -> None:
        """The time of one who waits is over."""
        if future.done():
            return
        if job.was_lost:
            future.set_exception(ModelUnavailable(AWAY))
        elif job.queue is None:
            future.set_exception(DeadlineExceeded("The model did not answer in time: try again in a few seconds."))
        else:
            future.set_exception(WouldBeLate(0))
        lane.dispatcher.leave(job, urgency, time.monotonic(), "expired")
        if not job.waiters and job.content is not None:
            # Its worker may be dead: whoever comes now had better ask another one.
            self._forget(job)

    def drop(self, lane: Lane, job: Job, reason: Reason, late_s: float) -> None:
        """``job`` will not be sent."""
        self.metrics.unsent.labels(*lane.labels, reason).inc()
        lane.wake()  # fewer wait now
        if reason == "left":
            self.settle(job, ClientDisconnect())
        else:
            self.settle(job, ModelUnavailable(AWAY) if job.was_lost else WouldBeLate(late_s))

    def settle(self, job: Job, outcome: HandlerAnswer | Exception) -> None:
        self._forget(job)
        self._waiting_bytes -= job.size_bytes
        job.content.resolve(outcome)
        # A caller's queue may know the job for a while. The picture need not stay as long.
        job.content = None

    def _forget(self, job: Job) -> None:
        """Let nobody join it any more."""
        if self._jobs.get(job.content.key) is job:
            del self._jobs[job.content.key]

    async def close(self) -> None:
        """Ask for nothing more."""
        for lane in self._lanes.values():
            lane.close()

    def _follow(self) -> None:
        """The workers may be others."""
        listed = {(model.name, model.version) for model in self.catalogue.models}
        for key, lane in list(self._lanes.items()):
            if key not in listed and lane.dispatcher.is_idle:
                del self._lanes[key]
            else:
                lane.follow()
                lane.wake()
