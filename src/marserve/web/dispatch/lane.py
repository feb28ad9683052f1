"""The queue of one version of a model, and the groups of it that TorchServe has, in the event loop."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from pydantic import ValidationError

from marserve.handler.resnet18.errors import NotExplainable, RequestError
from marserve.web.dispatch.dispatcher import Dispatcher
from marserve.web.dispatch.jobs import Group, Job
from marserve.web.dispatch.urgency import PRIORITIES
from marserve.web.dispatch.worker_capacity import WorkerCapacity
from marserve.web.errors import DeadlineExceeded, InferenceFailed, InternalError, ModelUnavailable, PictureQuarantined
from marserve.web.models import KnownModel
from marserve.web.quarantine import Suspicion
from marserve.web.schemas import HandlerAnswer
from marserve.web.upstream.inference import GARBAGE, PROBE, ModelGone, PictureCall, TorchServeAway, WorkerDied

if TYPE_CHECKING:
    from marserve.web.dispatch.queues import PictureQueues
    from marserve.web.tracing.spans import RecordedBatch, RecordedPicture

#: Seconds that a group is waited for after the last caller has given up: as long as its worker does not answer it is
#: busy, and how long that takes is worth knowing.
LINGER_S = 1.0
#: Seconds between the two nearest times that the event loop's timers tell apart.
TIMER_S = 0.001

AWAY = "The model server is being started or restarted: try again in a few seconds."
WORKER_ENDED = "The model's worker ended while it worked on this picture: try again in a few seconds."

#: Keeps the body of an answer for those who ask the same again.
Keep = Callable[[bytes], Awaitable[None]]


class Waiting:
    """A picture that was asked for, and those who wait for its answer."""

    __slots__ = ("batch", "call", "futures", "futures_of_one_try", "keep", "key", "spans", "took_s")

    def __init__(self, key: str, call: PictureCall, keep: Keep | None) -> None:
        self.key = key
        self.call = call
        self.keep = keep
        self.futures: list[asyncio.Future[HandlerAnswer]] = []
        #: Of those who do not wait for another worker where the first one ends.
        self.futures_of_one_try: list[asyncio.Future[HandlerAnswer]] = []
        #: Seconds from sending it to a worker until its answer was here.
        self.took_s = 0.0
        #: Of those whose spans are recorded, and the group that TorchServe has it in.
        self.spans: list[RecordedPicture] = []
        self.batch: RecordedBatch | None = None

    def resolve(self, outcome: HandlerAnswer | Exception) -> None:
        for future in (*self.futures, *self.futures_of_one_try):
            _resolve(future, outcome)

    def end_one_try(self, died: WorkerDied) -> None:
        """Whoever wanted no second try leaves with ``died``."""
        for future in self.futures_of_one_try:
            _resolve(future, died)


def _resolve(future: asyncio.Future[HandlerAnswer], outcome: HandlerAnswer | Exception) -> None:
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


class Lane:
    """The queue of one version of a model, and the groups of it that TorchServe has."""

    def __init__(self, queues: PictureQueues, model: KnownModel) -> None:
        self.labels = self.name, self.version = model.name, model.version
        self.answered_at = -math.inf
        self.dispatcher = Dispatcher(max_group_bytes=queues.max_group_bytes, on_drop=partial(queues.drop, self))
        self._queues = queues
        self._model: KnownModel | None = None
        #: The workers that were READY when there was one last.
        self._processes: frozenset[tuple[int, str]] = frozenset()
        self._tasks: set[asyncio.Task[None]] = set()
        #: When ``_send`` is called next, without anything more happening.
        self._next: asyncio.Handle | None = None
        self._is_woken = False
        of_priority = queues.metrics.queue_seconds.labels
        self._queue_seconds = {name: of_priority(*self.labels, name) for name in PRIORITIES}
        self._queue_pictures = queues.metrics.queue_pictures.labels(*self.labels)
        self._worker_seconds = queues.metrics.worker_seconds.labels(*self.labels)
        self._group_pictures = queues.metrics.group_pictures.labels(*self.labels)

    def wake(self) -> None:
        """Send what can be sent, once everything that has just arrived is in the queue."""
        if not self._is_woken:
            self._is_woken = True
            if self._next is not None:
                self._next.cancel()
            self._next = asyncio.get_running_loop().call_soon(self._send)

    def follow(self) -> None:
        """See who the workers are. Where none is left of those before, what they answered says nothing of these."""
        model = self._queues.catalogue.get(self.name, self.version)
        if model is not None and (processes := model.reported.ready_processes):
            if self._processes and self._processes.isdisjoint(processes):
                self.answered_at = -math.inf
            self._processes = processes

    def close(self) -> None:
        if self._next is not None:
            self._next.cancel()
        for task in self._tasks:
            task.cancel()

    def _send(self) -> None:
        self._is_woken = False
        self._next = None
        self._read_capacity()
        now = time.monotonic()
        while (group := self.dispatcher.take(now)) is not None:
            for job in group.jobs:
                is_bulk = bool(job.waiters) and all(waiter.is_bulk for waiter in job.waiters)
                self._queue_seconds[PRIORITIES[is_bulk]].observe(now - job.waits_since)
            self._group_pictures.observe(len(group.jobs))
            as_group = self.dispatcher.capacity.reads_groups and not group.jobs[0].content.call.explain
            task = asyncio.create_task(self._ask(group, as_group))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._queue_pictures.set(self.dispatcher.waiting)
        if self.dispatcher.wake_at < math.inf:
            delay_s = max(self.dispatcher.wake_at - now, TIMER_S)
            self._next = asyncio.get_running_loop().call_later(delay_s, self._send)

    def _read_capacity(self) -> None:
        """Once for each time that the catalogue was refreshed."""
        model = self._queues.catalogue.get(self.name, self.version)
        if model is self._model:
            return
        self._model = model
        self.dispatcher.capacity = WorkerCapacity() if model is None else capacity_of(model)

    async def _ask(self, group: Group, as_group: bool) -> None:
        """Have a worker answer ``group``, and tell those who wait."""
        dispatcher, jobs = self.dispatcher, group.jobs
        give_up = max(job.give_up for job in jobs) + LINGER_S
        outcomes: Sequence[bytes | Exception]
        try:
            is_well = group.is_suspect and await self._send_control(jobs[0], give_up)
            with self._queues.tracing.batch(jobs) as batch:
                reply = await self._queues.inference.send(
                    self.name,
                    self.version,
                    [job.content.call for job in jobs],
                    as_group=as_group,
                    timeout_s=give_up - time.monotonic(),
                    trace=batch.context,
                )
                batch.answered(reply.headers)
            worker_s, outcomes = reply.worker_s, reply.outcomes
        except WorkerDied as death:
            for job in jobs:
                job.content.end_one_try(death)
            if dispatcher.was_alone(group) and not death.was_killed and await self._is_proven(jobs[0], is_well):
                dispatcher.abandon(group, time.monotonic())
                outcomes = [PictureQuarantined()]
            else:
                jobs = dispatcher.retry(group, time.monotonic())
                outcomes = [ModelUnavailable(WORKER_ENDED)] * len(jobs)
        except TorchServeAway as away:
            jobs = dispatcher.hold(group, time.monotonic(), had_it=away.had_it)
            outcomes = [ModelUnavailable(AWAY)] * len(jobs)
        except ModelGone as gone:
            dispatcher.abandon(group, time.monotonic())
            jobs = [*jobs, *dispatcher.empty()]
            outcomes = [gone] * len(jobs)
        except RequestError as error:
            dispatcher.abandon(group, time.monotonic())
            outcomes = [error] * len(jobs)
        except BaseException:
            dispatcher.abandon(group, time.monotonic())
            for job in jobs:
                self._queues.settle(job, InternalError("Something is wrong with this service: try again."))
            raise
        else:
            now = time.monotonic()
            dispatcher.finish(group, now, worker_s)
            self._worker_seconds.inc(worker_s or 0.0)
            for job in jobs:
                job.content.took_s = took_s = now - group.sent_at
                if (timing := job.content.call.timing) is not None:
                    timing.queue_s, timing.group_s = group.sent_at - job.waits_since, took_s
                    timing.worker_s = worker_s or 0.0
                    timing.pictures, timing.company = len(jobs), group.company
        if dispatcher.waiting:
            self.wake()
        # At once: none waits until the answers of others are in the cache, which may be a Redis elsewhere.
        told = (self._tell(group, job, outcome) for job, outcome in zip(jobs, outcomes, strict=True))
        await asyncio.gather(*told)

    async def _send_control(self, job: Job, give_up: float) -> bool:
        """Before a picture that is suspected to end workers is sent again, see whether another one is answered.

        Where that ends a worker too, it is not the picture that does. Raises TorchServeAway, or DeadlineExceeded where
        that took all the time there was.
        """
        suspicion = self._suspicion_of(job)
        if suspicion is None:
            return False
        timeout_s = give_up - time.monotonic()
        try:
            await self._queues.inference.send(self.name, self.version, [PROBE], as_group=False, timeout_s=timeout_s)
        except WorkerDied:
            await self._queues.quarantine.acquit(suspicion)
        except DeadlineExceeded:
            raise
        except (ModelGone, RequestError):
            pass  # the picture's own attempt shows what it is
        else:
            self.answered_at = time.monotonic()
            return True
        return False

    async def _is_proven(self, job: Job, is_well: bool) -> bool:
        """A worker ended under ``job`` alone: whether the picture has ended enough of them by itself.

        ``is_well``: right before it another one was answered.
        """
        catalogue, call = self._queues.catalogue, job.content.call
        before = catalogue.get(self.name, self.version)
        await catalogue.refresh()
        after = catalogue.get(self.name, self.version)
        if before is None or after is None or not catalogue.is_current or call is PROBE:
            return False
        if {worker.id for worker in before.reported.workers} - {worker.id for worker in after.reported.workers}:
            return False  # scaled away
        return await self._queues.quarantine.blame(before, call.picture, call.request_id, is_well=is_well)

    def _suspicion_of(self, job: Job) -> Suspicion | None:
        model = self._queues.catalogue.get(self.name, self.version)
        return None if model is None else self._queues.quarantine.find(model, job.content.call.picture)

    async def _tell(self, group: Group, job: Job, outcome: bytes | Exception) -> None:
        waiting: Waiting = job.content
        if job.has_been_left() or job.give_up <= time.monotonic():
            before = min(job.left_at, job.give_up if job.waiters else math.inf) <= group.sent_at
            given_up = "before_sending" if before else "at_worker"
            self._queues.metrics.in_vain.labels(*self.labels, given_up).inc()
        if isinstance(outcome, Exception):
            self._queues.settle(job, outcome)
            return
        answer = self._read(waiting.call, outcome)
        if isinstance(answer, HandlerAnswer):
            self.answered_at = time.monotonic()
            if job.deaths and (suspicion := self._suspicion_of(job)) is not None:
                await self._queues.quarantine.acquit(suspicion)
        self._queues.settle(job, answer)
        # After that: a cache that is slow delays no answer.
        if isinstance(answer, HandlerAnswer) and waiting.keep is not None:
            await waiting.keep(outcome)

    def _read(self, call: PictureCall, body: bytes) -> HandlerAnswer | RequestError:
        """The answer, checked where it comes in, so that nothing after it meets garbage."""
        answer = read_answer(body, call.explain)
        if answer is None:
            self._queues.metrics.upstream_errors.labels("garbage").inc()
            return InferenceFailed(GARBAGE)
        if call.class_id is not None and answer.explanation and answer.explanation.class_id != call.class_id:
            return NotExplainable("This archive is an old one, which explains its first class alone: build it again.")
        return answer


def capacity_of(model: KnownModel) -> WorkerCapacity:
    reported = model.reported
    return WorkerCapacity(
        workers=reported.ready_workers,
        batch_size=reported.batch_size,
        # Of an archive that may be another one by now it is not known.
        reads_groups=model.is_confirmed and model.description.reads_groups,
        batch_delay_s=reported.batch_delay_s,
    )


def read_answer(body: bytes, explain: bool) -> HandlerAnswer | None:
    """What the handler says of a picture; None for anything else."""
    try:
        answer = HandlerAnswer.model_validate_json(body)
    except ValidationError:
        return None
    return None if explain and answer.explanation is None else answer
