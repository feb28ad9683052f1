"""The queue of one version of a model, and the groups of it that TorchServe has, in the event loop."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, cast

from marserve.handler.resnet18.errors import NotExplainable, RequestError
from marserve.web.dispatch.dispatcher import Dispatcher
from marserve.web.dispatch.evidence import Evidence
from marserve.web.dispatch.jobs import Group, Job
from marserve.web.dispatch.urgency import PRIORITIES
from marserve.web.dispatch.worker_capacity import WorkerCapacity
from marserve.web.errors import DeadlineExceeded, InferenceFailed, InternalError, ModelUnavailable, PictureQuarantined
from marserve.web.models import KnownModel
from marserve.web.schemas import HandlerAnswer
from marserve.web.upstream.inference import (
    GARBAGE,
    GroupReply,
    ModelGone,
    PictureCall,
    TorchServeAway,
    WorkerDied,
)

if TYPE_CHECKING:
    from marserve.web.dispatch.queues import PictureQueues
    from marserve.web.tracing.spans import RecordedBatch, RecordedPicture

#: Seconds that a group is waited for after the last caller has given up: as long as its worker does not answer it is
#: busy, and how long that takes is worth knowing.
LINGER_S = 1.0
#: Seconds beyond those that TorchServe gives a worker to answer, until it has ended one that hangs and says so.
HUNG_S = 5.0
#: Seconds before a picture under which a worker hangs: one that was answered since then shows that others are.
WELL_S = 10.0
#: Seconds between the two nearest times that the event loop's timers tell apart.
TIMER_S = 0.001

LATE = "The model did not answer in time: try again in a few seconds."
AWAY = "The model server is being started or restarted: try again in a few seconds."
WORKER_ENDED = "The model's worker ended while it worked on this picture: try again in a few seconds."

#: Keeps the body of an answer for those who ask the same again.
Keep = Callable[[bytes], Awaitable[None]]


class _Overdue(Exception):  # noqa: N818
    """Nobody waits for this reply any more."""


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
        self._evidence = Evidence(queues, self.name, self.version)
        self._model: KnownModel | None = None
        #: The workers that were READY when there was one last.
        self._processes: frozenset[tuple[int, str]] = frozenset()
        self._tasks: set[asyncio.Task[None]] = set()
        #: Groups that were not answered in time, and when TorchServe's word on their workers is not awaited any more.
        self._overdue: dict[Group, asyncio.TimerHandle] = {}
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
        self.dispatcher.capacity = WorkerCapacity() if model is None else WorkerCapacity.of(model)

    async def _ask(self, group: Group, as_group: bool) -> None:
        """Have a worker answer ``group``, and tell those who wait."""
        dispatcher, jobs = self.dispatcher, group.jobs
        give_up = max(job.give_up for job in jobs) + LINGER_S
        outcomes: Sequence[bytes | Exception]
        try:
            is_well = group.is_suspect and await self._evidence.control(jobs[0].content.call, give_up)
            if is_well:
                self.answered_at = time.monotonic()
            reply = await self._reply(group, as_group, give_up)
            worker_s, outcomes = reply.worker_s, reply.outcomes
        except _Overdue:
            return
        except WorkerDied as death:
            for job in jobs:
                job.content.end_one_try(death)
            may_be_it = dispatcher.was_alone(group) and not death.was_killed
            if may_be_it and await self._evidence.is_proven(jobs[0].content.call, is_well=is_well):
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

    async def _reply(self, group: Group, as_group: bool, give_up: float) -> GroupReply:
        """What TorchServe says to ``group``. Raises _Overdue after ``give_up``, when all who waited have been told.

        It is awaited longer for what it shows of a worker that hangs: TorchServe ends it, long after most deadlines.
        """
        calls = [job.content.call for job in group.jobs]
        answered_at, at_workers = self.answered_at, group.company + len(self._overdue)
        with ExitStack() as recorded:
            batch = recorded.enter_context(self._queues.tracing.batch(group.jobs))
            task = cast("asyncio.Task[None]", asyncio.current_task())
            late = partial(self._give_up, group, recorded, task)
            timer = asyncio.get_running_loop().call_later(give_up - time.monotonic(), late)
            try:
                reply = await self._queues.inference.send(
                    self.name, self.version, calls, as_group=as_group, timeout_s=math.inf, trace=batch.context
                )
            except BaseException as failure:
                if group not in self._overdue:
                    raise
                if isinstance(failure, WorkerDied) and not failure.was_killed:
                    is_well = max(answered_at, self.answered_at) > group.sent_at - WELL_S
                    is_alone = at_workers <= self.dispatcher.capacity.workers
                    await self._evidence.note_hang(calls, is_alone=is_alone, is_well=is_well)
                raise _Overdue from failure
            else:
                if group in self._overdue:
                    raise _Overdue
                batch.answered(reply.headers)
                return reply
            finally:
                timer.cancel()
                if (end := self._overdue.pop(group, None)) is not None:
                    end.cancel()

    def _give_up(self, group: Group, recorded: ExitStack, task: asyncio.Task[None]) -> None:
        """Tell all who wait that the answer has not come in time, and see what becomes of the worker."""
        late, dispatcher = DeadlineExceeded(LATE), self.dispatcher
        recorded.pop_all().__exit__(DeadlineExceeded, late, None)
        self._queues.metrics.upstream_errors.labels("timeout").inc()
        # No more can hang than there are, and their pictures take memory.
        model = self._queues.catalogue.get(self.name, self.version)
        may_hang = model is not None and len(self._overdue) < dispatcher.capacity.workers
        seconds = model.reported.response_timeout_s + HUNG_S if may_hang and model else 0.0
        at = group.sent_at + seconds - time.monotonic()
        self._overdue[group] = asyncio.get_running_loop().call_later(at, task.cancel)
        dispatcher.abandon(group, time.monotonic())
        for job in group.jobs:
            self._count_in_vain(group, job)
            self._queues.settle(job, late)
        if dispatcher.waiting:
            self.wake()

    async def _tell(self, group: Group, job: Job, outcome: bytes | Exception) -> None:
        waiting: Waiting = job.content
        self._count_in_vain(group, job)
        if isinstance(outcome, Exception):
            self._queues.settle(job, outcome)
            return
        answer = self._read(waiting.call, outcome)
        if isinstance(answer, HandlerAnswer):
            self.answered_at = time.monotonic()
            await self._evidence.acquit(waiting.call)
        self._queues.settle(job, answer)
        # After that: a cache that is slow delays no answer.
        if isinstance(answer, HandlerAnswer) and waiting.keep is not None:
            await waiting.keep(outcome)

    def _count_in_vain(self, group: Group, job: Job) -> None:
        if job.has_been_left() or job.give_up <= time.monotonic():
            before = min(job.left_at, job.give_up if job.waiters else math.inf) <= group.sent_at
            given_up = "before_sending" if before else "at_worker"
            self._queues.metrics.in_vain.labels(*self.labels, given_up).inc()

    def _read(self, call: PictureCall, body: bytes) -> HandlerAnswer | RequestError:
        """The answer, checked where it comes in, so that nothing after it meets garbage."""
        answer = HandlerAnswer.read(body, explain=call.explain)
        if answer is None:
            self._queues.metrics.upstream_errors.labels("garbage").inc()
            return InferenceFailed(GARBAGE)
        if call.class_id is not None and answer.explanation and answer.explanation.class_id != call.class_id:
            return NotExplainable("This archive is an old one, which explains its first class alone: build it again.")
        return answer
