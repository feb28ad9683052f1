"""One pod by discrete events: web service, dispatcher, TorchServe and its workers, on the cores that they share.

``tests/unit/plan`` holds it to queueing theory, and to the web service's real dispatcher.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from math import ceil, inf
from typing import Literal

#: As in the dispatcher: seconds in which a free worker has taken what was sent; average errors that a picture must be
#: early by; weight of the newest in averages. And of the event loop: seconds between two times that timers tell apart.
TAKEN_S, MARGIN, GAIN, TIMER_S = 0.0005, 2.0, 0.1, 0.001
#: Values of noise that a pod draws from, by turns from a place by chance.
DRAWN = 4096


@dataclass(frozen=True)
class PodSpec:
    """What a pod is made of, and how long things take in it."""

    workers: int
    #: ``seconds[busy - 1][pictures - 1]`` of a worker for a group, while ``busy`` workers are at work and nobody else.
    seconds: tuple[tuple[float, ...], ...]
    #: ``noise[pictures - 1]``: factors of these seconds to draw from, 1 on average; the last also of larger groups.
    noise: tuple[tuple[float, ...], ...] = ((1.0,),)
    #: Those that the processes below share.
    cores: float = inf
    #: Cores that a worker takes which is alone at work, and one that is not.
    threads: tuple[float, float] = (1.0, 1.0)
    #: Seconds of the web service's one thread for a picture, until it waits for a worker and once it is answered.
    arrival_s: float = 0.0
    answer_s: float = 0.0
    #: Cores that TorchServe, and whatever else works beside it, take for as long as the web service works.
    beside: float = 0.0
    #: Seconds of a group's way to TorchServe and back, without work on a core that others miss.
    way_s: float = 0.0
    #: And for each picture of the group but the first.
    way_picture_s: float = 0.0
    #: Seconds of a worker from one group to the next: TorchServe's ``maxBatchDelay``, and what it reads and writes.
    pause_s: float = 0.0
    #: TorchServe's ``maxBatchDelay``, for the dispatcher.
    batch_delay_s: float = 0.0
    #: Seconds of an answer besides all these, in which nothing of the pod is at work: the network.
    besides_s: float = 0.0
    #: Pictures at once, waiting or at work; more are refused.
    max_in_flight: float = inf
    deadline_s: float = inf

    @property
    def batch_size(self) -> int:
        return len(self.seconds[0])

    @property
    def capacity_per_s(self) -> float:
        """Pictures a second with all workers in full groups; what the web service and the cores allow may be less."""
        return min(self.workers, self._shared_workers()) * self.batch_size / self._group_s

    @property
    def _group_s(self) -> float:
        return self.seconds[min(self.workers, len(self.seconds)) - 1][-1] + self.pause_s

    def _shared_workers(self) -> float:
        """Workers that the cores are enough for, beside the web service's work for what these answer."""
        web_s = (self.arrival_s + self.answer_s) * self.batch_size
        busy = self.seconds[min(self.workers, len(self.seconds)) - 1][-1] * self.threads[1]
        by_cores = self.cores * self._group_s / (busy + web_s * (1 + self.beside)) if busy else inf
        return min(by_cores, self._group_s / web_s if web_s else inf)


class SentGroup:
    """Pictures that a worker computes together, by their numbers."""

    __slots__ = ("began_at", "company", "done_at", "expected_s", "numbers", "reaches_at", "sent_at", "threads")

    def __init__(self, numbers: list[int], sent_at: float, done_at: float, company: int, expected_s: float) -> None:
        self.numbers = numbers
        self.sent_at = sent_at
        #: When the dispatcher expects it back, and what it expects the worker to spend.
        self.done_at = done_at
        self.expected_s = expected_s
        self.company = company
        self.reaches_at = self.began_at = 0.0
        self.threads = 1.0


class Pod:
    """Processes events in the order of their time, which only goes forward.

    Where more threads work than there are cores, all go slower by the same share (processor sharing): what they have
    left is counted in ``_work``, seconds of an undisturbed core that have passed for each.
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
        self._noise = [
            source.choices(factors, k=DRAWN) if len(factors) > 1 else list(factors) for factors in spec.noise
        ]
        self._drawn = 0
        self._wanted = self._ready = self._idle = spec.workers
        self._set_expected()
        #: What the web service's thread has to do: pictures that came, by number, and groups that were answered.
        self._web: deque[int | SentGroup] = deque()
        self._waiting: deque[int] = deque()
        self._on_way: list[SentGroup] = []
        self._at_hand: deque[SentGroup] = deque()
        self._at_work = 0
        self._threads = 0.0
        self._rate = 1.0
        #: By ``_work``: when the web service's thread is done with the first of ``_web``, and workers with groups.
        self._web_until = inf
        self._computing: list[tuple[float, int, SentGroup]] = []
        #: By ``now``: a group begins, or is back; a worker is ready.
        self._events: list[tuple[float, int, Literal["begin", "back", "ready"], SentGroup | None]] = []
        self._order = count()
        self._wake_at = inf
        self._sent_at = self._finished_at = -inf
        # What the dispatcher has learnt: by how much groups take longer than expected, and the error that is left.
        self._slowness, self._error_s = 1.0, 0.0

    @property
    def waiting(self) -> int:
        """Pictures that wait in the web service."""
        return len(self._waiting)

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
                self._start_web()
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
            self._set_expected()

    def advance(self, to: float) -> None:
        """Let everything happen until ``to``; infinity: until nothing is left to happen."""
        events, computing = self._events, self._computing
        while True:
            until, is_web = self._web_until, True
            if computing and computing[0][0] < until:
                until, is_web = computing[0][0], False
            at = self.now + (until - self._work) / self._rate
            if events and events[0][0] < at:
                at, until = events[0][0], -inf
            if self._wake_at < at:
                at, until = self._wake_at, inf
            if at > to or at == inf:
                self.next_at = at
                break
            self._work += (at - self.now) * self._rate
            self.now = at
            if until == inf:
                self._take()
            elif until == -inf:
                _, _, kind, group = heapq.heappop(events)
                if group is None:
                    self._add_worker()
                elif kind == "begin":
                    self._begin(group)
                else:
                    self._come_back(group)
            elif is_web:
                self._end_web()
            else:
                self._end_group(heapq.heappop(computing)[2])
        if to < inf:
            self._work += (to - self.now) * self._rate
            self.now = to

    # The web service's thread

    def _start_web(self) -> None:
        task = self._web[0]
        if isinstance(task, SentGroup):
            self._finish(task)
            seconds = self.spec.answer_s * len(task.numbers)
        else:
            seconds = self.spec.arrival_s
        self._web_until = self._work + seconds
        self._share(1.0 + self.spec.beside)

    def _end_web(self) -> None:
        task = self._web.popleft()
        self._web_until = inf
        self._share(-1.0 - self.spec.beside)
        if isinstance(task, SentGroup):
            self._note_answers(task)
        else:
            self._submit(task)
        if self._web and self._web_until == inf:
            self._start_web()

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
        each_s = self.spec.answer_s / self._rate
        after = self.now + self.spec.besides_s - each_s * len(group.numbers)
        for number in group.numbers:
            after += each_s
            seconds = after - due[number]
            if seconds <= deadline_s:
                took[number] = seconds
        self.in_flight -= len(group.numbers)

    # The dispatcher: as marserve.web.dispatch.dispatcher with one caller, whose pictures are all alike

    def _submit(self, number: int) -> None:
        if self.spec.deadline_s < inf and self._expected_answer() > self._due[number] + self.spec.deadline_s:
            self._drop()
            return
        self._waiting.append(number)
        self._take()

    def _drop(self) -> None:
        self.in_flight -= 1
        self.refused += 1

    def _set_expected(self) -> None:
        """The fixed and each picture's part of a group's seconds, by how many workers are busy."""
        self._expected = []
        for busy in range(max(self._ready, 1)):
            seconds = self.spec.seconds[min(busy, len(self.spec.seconds) - 1)]
            each_s = (seconds[-1] - seconds[0]) / (len(seconds) - 1) if len(seconds) > 1 else seconds[0]
            self._expected.append((seconds[0] - each_s, each_s))

    def _expect(self, pictures: float, groups: float = 1.0) -> float:
        fixed_s, each_s = self._expected[min(len(self._on_way), len(self._expected) - 1)]
        return (fixed_s * groups + each_s * pictures) * self._slowness

    def _way(self) -> float:
        return self.spec.way_s + self.spec.pause_s

    def _free_at(self) -> float:
        """When a worker is free for what is sent next."""
        ahead = len(self._on_way) - max(self._ready, 1)
        if ahead < 0:
            return self.now
        if ahead == 0 and len(self._on_way) == 1:
            return max(self._on_way[0].done_at, self.now)
        return max(sorted([group.done_at for group in self._on_way])[ahead], self.now)

    def _expected_answer(self) -> float:
        if not self._waiting and not self._on_way:
            return self.now + self._way() + self._expect(1)
        start = self._free_at() + self._way() + MARGIN * self._error_s
        pictures = len(self._waiting) + 1
        in_group = min(pictures, self.spec.batch_size)
        rest = pictures - in_group
        return start + self._expect(rest, rest / in_group) / max(self._ready, 1) + self._expect(in_group)

    def _take(self) -> None:
        """Send what can be sent now."""
        waiting, batch_size = self._waiting, self.spec.batch_size
        gather_s = self.spec.batch_delay_s + TAKEN_S if batch_size > 1 else 0.0
        self._wake_at = inf
        while waiting:
            idle = self._ready - len(self._on_way)
            if idle < 0:
                return
            at = (self._sent_at if idle else max(self._sent_at, self._finished_at)) + gather_s
            if not idle and len(waiting) < batch_size:
                at = max(at, self._free_at() - self._way())
            if at > self.now:
                self._wake_at = max(at, self.now + TIMER_S)
                return
            most = len(waiting) if idle <= 1 else ceil(len(waiting) / idle)
            numbers = self._fill(min(most, batch_size))
            if numbers:
                self._send(numbers)

    def _fill(self, most: int) -> list[int]:
        waiting, deadline_s = self._waiting, self.spec.deadline_s
        if deadline_s == inf:
            return [waiting.popleft() for _ in range(most)]
        start = self._free_at() + self._way() + MARGIN * self._error_s
        numbers: list[int] = []
        give_up = inf
        while waiting and len(numbers) < most:
            give_up = min(give_up, self._due[waiting[0]] + deadline_s)
            if not numbers and not self._on_way:
                is_late = self.now + self._way() + self._expect(1) > give_up
            else:
                is_late = start + self._expect(len(numbers) + 1) > give_up
            if is_late and numbers:
                break
            number = waiting.popleft()
            if is_late:
                self._drop()
                give_up = inf
            else:
                numbers.append(number)
        return numbers

    def _send(self, numbers: list[int]) -> None:
        now = self.now
        expected_s = self._expect(len(numbers))
        done_at = self._free_at() + self._way() + expected_s
        group = SentGroup(numbers, now, done_at, len(self._on_way) + 1, expected_s)
        group.reaches_at = now + self.spec.way_s / 2 + self.spec.way_picture_s * (len(numbers) - 1)
        self._on_way.append(group)
        self._sent_at = now
        self.groups_sent += 1
        self.sent += len(numbers)
        self.waited_s += sum([now - self._due[number] for number in numbers])
        if self._idle > 0:
            self._idle -= 1
            heapq.heappush(self._events, (group.reaches_at + self.spec.pause_s, next(self._order), "begin", group))
        else:
            self._at_hand.append(group)

    def _finish(self, group: SentGroup) -> None:
        self._on_way.remove(group)
        self._finished_at = self.now
        if self._waiting:
            self._take()

    # TorchServe and its workers

    def _begin(self, group: SentGroup) -> None:
        spec = self.spec
        self._at_work += 1
        seconds = spec.seconds[min(self._at_work, len(spec.seconds)) - 1][len(group.numbers) - 1]
        self._drawn += 1
        noise = self._noise[min(len(group.numbers), len(self._noise)) - 1]
        seconds *= noise[self._drawn % len(noise)]
        group.began_at = self.now
        group.threads = spec.threads[0 if self._at_work == 1 else 1]
        self.waited_at_hand_s += max(self.now - group.reaches_at - spec.pause_s, 0.0)
        heapq.heappush(self._computing, (self._work + seconds, next(self._order), group))
        self._share(group.threads)

    def _end_group(self, group: SentGroup) -> None:
        self._at_work -= 1
        self._share(-group.threads)
        worker_s = self.now - group.began_at
        self.worked_s += worker_s
        self.groups_answered += 1
        self.answered += len(group.numbers)
        self._slowness += (worker_s / group.expected_s * self._slowness - self._slowness) * GAIN
        self._error_s += (abs(worker_s - group.expected_s) - self._error_s) * GAIN
        self._idle += 1
        self._start_at_hand()
        heapq.heappush(self._events, (self.now + self.spec.way_s / 2, next(self._order), "back", group))

    def _add_worker(self) -> None:
        if self._ready < self._wanted:
            self._ready += 1
            self._idle += 1
            self._set_expected()
            self._start_at_hand()
            self._take()

    def _start_at_hand(self) -> None:
        if self._at_hand and self._idle > 0:
            self._idle -= 1
            group = self._at_hand.popleft()
            begins_at = max(self.now, group.reaches_at) + self.spec.pause_s
            heapq.heappush(self._events, (begins_at, next(self._order), "begin", group))

    def _share(self, threads: float) -> None:
        """So many more want a core, or fewer."""
        self._threads += threads
        self._rate = 1.0 if self._threads <= self.spec.cores else self.spec.cores / self._threads


def simulate(spec: PodSpec, due: Sequence[float], *, seed: int = 0) -> list[float | None]:
    """Seconds until each of ``due``, which rise, is answered by a pod of its own; None: refused, or too late."""
    took: list[float | None] = [None] * len(due)
    pod = Pod(spec, due, took, seed=seed)
    for number in range(len(due)):
        pod.arrive(number)
    pod.advance(inf)
    return took
