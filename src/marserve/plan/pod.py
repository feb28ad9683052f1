"""One pod by discrete events: web service, dispatcher, TorchServe and its workers, on the cores that they share.

``tests/unit/plan`` holds it to queueing theory, and to the web service's real dispatcher.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Sequence
from itertools import count
from math import inf
from typing import Literal

from marserve.plan.dispatcher import SentGroup, SimulatedDispatcher
from marserve.plan.pod_spec import PACE_S, PodSpec, nearest

#: Values of chance that a pod draws from, by turns.
DRAWN = 4096


class Pod:
    """Processes events in the order of their time, which only goes forward.

    The web service, and what works beside it, has what it wants of the cores: its work is short, and the system's
    scheduler lets it in. Workers share the rest, and go slower by the same share where that is too little: what they
    have left is counted in ``_work``, seconds of undisturbed work that have passed for each.
    """

    def __init__(self, spec: PodSpec, due: Sequence[float], took: list[float | None], *, seed: int = 0) -> None:
        """``due`` has the seconds at which each picture comes; ``took`` gets those until it is answered in time."""
        self.spec = spec
        self.in_flight = self.refused = 0
        #: Of all groups: how many were sent and answered, their pictures, and the seconds that they waited and worked.
        self.groups_sent = self.groups_answered = self.sent = self.answered = 0
        self.waited_s = self.waited_at_hand_s = self.worked_s = 0.0
        self.now = self._work = 0.0
        #: When something happens in it by itself, as far as is known since it last advanced.
        self.next_at = -inf
        self._due, self._took = due, took
        source = random.Random(seed)  # noqa: S311 - a simulation, which must repeat
        self._noise = [_drawn(factors, source) for factors in spec.noise]
        self._besides_s = _drawn(spec.besides_s, source)
        self._group_turn = self._answer_turn = 0
        # As it was measured, from a moment by chance on.
        self._pace_from = source.randrange(len(spec.pace)) if spec.pace_from is None else spec.pace_from
        self._wanted = self._ready = self._idle = spec.workers
        self._dispatcher = SimulatedDispatcher(spec, due, self._drop)
        #: What the web service's thread has to do: pictures that came, by number, and groups that were answered.
        self._web: deque[int | SentGroup] = deque()
        self._at_hand: deque[SentGroup] = deque()
        self._at_work = 0
        #: Cores that workers want, and how fast they go: 1 is undisturbed.
        self._wanted_cores = 0.0
        self._rate = 1.0
        #: When the web service's thread is done with the first of ``_web``, and how fast it goes.
        self._web_until = inf
        self._web_rate = min(spec.cores / (1.0 + spec.beside), 1.0)
        #: By ``_work``: when workers are done with groups.
        self._computing: list[tuple[float, int, SentGroup]] = []
        #: By ``now``: a group begins, or is back; a worker is ready.
        self._events: list[tuple[float, int, Literal["begin", "back", "ready"], SentGroup | None]] = []
        self._order = count()

    @property
    def waiting(self) -> int:
        """Pictures that wait in the web service."""
        return len(self._dispatcher.waiting)

    @property
    def at_hand(self) -> int:
        """Groups that wait in TorchServe."""
        return len(self._at_hand)

    @property
    def ready(self) -> int:
        return self._ready

    def arrive(self, number: int) -> None:
        """The picture of this number comes, at the time when it is due."""
        self.advance(self._due[number])
        self.next_at = -inf
        if self.in_flight >= self.spec.max_in_flight:
            self.refused += 1
            return
        self.in_flight += 1
        if self.spec.arrival_s:
            self._web.append(number)
            if self._web_until == inf:
                self._start_web(self.spec.wake_s)
        else:
            self._submit(number)

    def scale(self, workers: int, start_s: float) -> None:
        """Start workers, each ready after ``start_s``, or end some: busy ones when their group is done."""
        for _ in range(workers - self._wanted):
            heapq.heappush(self._events, (self.now + start_s, next(self._order), "ready", None))
        self._wanted = workers
        if workers < self._ready:
            self._idle -= self._ready - workers  # below 0: so many end when they are done
            self._ready = workers
            self._dispatcher.set_workers(workers)

    def advance(self, to: float) -> None:
        """Let everything happen until ``to``; infinity: until nothing is left to happen."""
        events, computing, dispatcher = self._events, self._computing, self._dispatcher
        while True:
            at, then = self._web_until, self._end_web
            if computing and self._rate:
                done_at = self.now + (computing[0][0] - self._work) / self._rate
                if done_at < at:
                    at, then = done_at, self._end_group
            if events and events[0][0] < at:
                at, then = events[0][0], self._happen
            if dispatcher.wake_at < at:
                at, then = dispatcher.wake_at, self._take
            if at > to or at == inf:
                self.next_at = at
                break
            self._work += (at - self.now) * self._rate
            self.now = at
            then()
        if to < inf:
            self._work += (to - self.now) * self._rate
            self.now = to

    def _happen(self) -> None:
        _, _, kind, group = heapq.heappop(self._events)
        if group is None:
            self._add_worker()
        elif kind == "begin":
            self._begin(group)
        else:
            self._come_back(group)

    # The web service's thread

    def _start_web(self, wake_s: float = 0.0) -> None:
        task = self._web[0]
        if not isinstance(task, SentGroup):
            seconds = self.spec.arrival_s + wake_s
        elif task.is_read:
            seconds = self.spec.answer_s * len(task.numbers)
        else:
            seconds = self.spec.answer_group_s
        self._web_until = self.now + seconds * self._pace() / self._web_rate
        self._share(0.0)

    def _end_web(self) -> None:
        task = self._web[0]
        self._web_until = inf
        if not isinstance(task, SentGroup):
            self._web.popleft()
            self._submit(task)
        elif task.is_read:
            self._web.popleft()
            self._note_answers(task)
        else:
            task.is_read = True
            self._finish(task)
        if self._web and self._web_until == inf:
            self._start_web()
        self._share(0.0)

    def _come_back(self, group: SentGroup) -> None:
        if not self.spec.arrival_s:
            self._finish(group)
            self._note_answers(group)
            return
        self._web.append(group)
        if self._web_until == inf:
            self._start_web()

    def _note_answers(self, group: SentGroup) -> None:
        due, took, deadline_s = self._due, self._took, self.spec.deadline_s
        each_s = self.spec.answer_s * self._pace() / self._web_rate
        after = self.now - each_s * len(group.numbers)
        for number in group.numbers:
            after += each_s
            self._answer_turn += 1
            seconds = after + self._besides_s[self._answer_turn % len(self._besides_s)] - due[number]
            if seconds <= deadline_s:
                took[number] = seconds
        self.in_flight -= len(group.numbers)

    def _submit(self, number: int) -> None:
        if self._dispatcher.is_late(number, self.now):
            self._drop()
            return
        self._dispatcher.waiting.append(number)
        self._take()

    def _drop(self) -> None:
        self.in_flight -= 1
        self.refused += 1

    def _take(self) -> None:
        for group in self._dispatcher.take(self.now):
            self._send(group)

    def _send(self, group: SentGroup) -> None:
        """On its way to TorchServe."""
        pictures = len(group.numbers)
        way_s = self.spec.way_s / 2 + self.spec.way_picture_s * (pictures - 1)
        group.reaches_at = self.now + way_s * self._pace()
        self.groups_sent += 1
        self.sent += pictures
        self.waited_s += sum([self.now - self._due[number] for number in group.numbers])
        if self._idle > 0:
            self._idle -= 1
            heapq.heappush(self._events, (group.reaches_at + self._pause_s(group), next(self._order), "begin", group))
        else:
            self._at_hand.append(group)

    def _finish(self, group: SentGroup) -> None:
        self._dispatcher.finish(group, self.now)
        if self._dispatcher.waiting:
            self._take()

    # TorchServe and its workers

    def _begin(self, group: SentGroup) -> None:
        spec = self.spec
        self._at_work += 1
        pictures = len(group.numbers)
        seconds = nearest(spec.seconds, self._at_work)[pictures - 1]
        self._group_turn += 1
        noise = nearest(self._noise, pictures)
        seconds *= noise[self._group_turn % len(noise)]
        seconds *= self._pace()
        group.began_at = self.now
        group.cores = nearest(nearest(spec.worker_cores, self._at_work), pictures)
        self.waited_at_hand_s += max(self.now - group.reaches_at - self._pause_s(group), 0.0)
        heapq.heappush(self._computing, (self._work + seconds, next(self._order), group))
        self._share(group.cores)

    def _end_group(self) -> None:
        group = heapq.heappop(self._computing)[2]
        self._at_work -= 1
        self._share(-group.cores)
        group.worker_s = self.now - group.began_at
        self.worked_s += group.worker_s
        self.groups_answered += 1
        self.answered += len(group.numbers)
        self._idle += 1
        self._start_at_hand()
        back_at = self.now + self.spec.way_s / 2 * self._pace()
        heapq.heappush(self._events, (back_at, next(self._order), "back", group))

    def _pause_s(self, group: SentGroup) -> float:
        return self._pace() * (self.spec.pause_s + self.spec.pause_picture_s * (len(group.numbers) - 1))

    def _pace(self) -> float:
        pace = self.spec.pace
        return pace[(self._pace_from + int(self.now / PACE_S)) % len(pace)] if len(pace) > 1 else pace[0]

    def _add_worker(self) -> None:
        if self._ready < self._wanted:
            self._ready += 1
            self._idle += 1
            self._dispatcher.set_workers(self._ready)
            self._start_at_hand()
            self._take()

    def _start_at_hand(self) -> None:
        if self._at_hand and self._idle > 0:
            self._idle -= 1
            group = self._at_hand.popleft()
            begins_at = max(self.now, group.reaches_at) + self._pause_s(group)
            heapq.heappush(self._events, (begins_at, next(self._order), "begin", group))

    def _share(self, cores: float) -> None:
        """Workers want so many cores more, or fewer."""
        self._wanted_cores += cores
        left = self.spec.cores
        if self._web_until < inf:
            left = max(left - 1.0 - self.spec.beside, 0.0)
        self._rate = 1.0 if self._wanted_cores <= left else left / self._wanted_cores


def _drawn(values: Sequence[float], source: random.Random) -> list[float]:
    return source.choices(values, k=DRAWN) if len(values) > 1 else list(values)


def simulate(spec: PodSpec, due: Sequence[float], *, seed: int = 0) -> list[float | None]:
    """Seconds until each of ``due``, which rise, is answered by a pod of its own; None: refused, or too late."""
    took: list[float | None] = [None] * len(due)
    pod = Pod(spec, due, took, seed=seed)
    for number in range(len(due)):
        pod.arrive(number)
    pod.advance(inf)
    return took
