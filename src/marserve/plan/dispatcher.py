"""The web service's dispatcher in the simulated pod, with one caller whose pictures are all alike.

It decides as ``marserve.web.dispatch.dispatcher``, at a small part of its cost: a test drives both with equal pictures.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from math import ceil, inf

from marserve.plan.pod_spec import PodSpec

#: As in the real one: seconds in which a free worker has taken what was sent; average errors that a picture must be
#: early by; weight of the newest in averages. And of the event loop: seconds between two times that timers tell apart.
TAKEN_S, MARGIN, GAIN, TIMER_S = 0.0005, 2.0, 0.1, 0.001


class SentGroup:
    """Pictures that a worker computes together, by their numbers."""

    __slots__ = (
        "began_at",
        "company",
        "cores",
        "done_at",
        "expected_s",
        "is_read",
        "numbers",
        "reaches_at",
        "sent_at",
        "worker_s",
    )

    def __init__(self, numbers: list[int], sent_at: float, done_at: float, company: int, expected_s: float) -> None:
        self.numbers = numbers
        self.sent_at = sent_at
        #: When the dispatcher expects it back, and what it expects the worker to spend.
        self.done_at = done_at
        self.expected_s = expected_s
        #: Groups on their way when it was sent, itself included.
        self.company = company
        #: When it is at TorchServe, and when a worker begins with it.
        self.reaches_at = self.began_at = 0.0
        #: What the worker takes meanwhile, and what it has spent.
        self.cores = self.worker_s = 0.0
        #: Whether the web service has read the answer.
        self.is_read = False


class SimulatedDispatcher:
    """Holds what waits, and knows what is on its way."""

    def __init__(self, spec: PodSpec, due: Sequence[float], on_drop: Callable[[], None]) -> None:
        """``on_drop`` is called for each picture that had to wait and will not be sent."""
        self.waiting: deque[int] = deque()
        self.on_way: list[SentGroup] = []
        #: When ``take`` is called though nothing has happened; infinity where there is no such time.
        self.wake_at = inf
        self._spec, self._due, self._on_drop = spec, due, on_drop
        self._way_s = spec.way_s + spec.pause_s
        self._gather_s = spec.batch_delay_s + TAKEN_S if spec.batch_size > 1 else 0.0
        self._sent_at = self._finished_at = -inf
        # What it has learnt: by how much groups take longer than expected, and the error that is left.
        self._slowness, self._error_s = 1.0, 0.0
        self.set_workers(spec.workers)

    def set_workers(self, ready: int) -> None:
        """So many take work. What it expects of a group has a fixed part and each picture's, by how many are busy."""
        self._ready = ready
        self._expected = []
        for busy in range(max(ready, 1)):
            seconds = self._spec.seconds[min(busy, len(self._spec.seconds) - 1)]
            each_s = (seconds[-1] - seconds[0]) / (len(seconds) - 1) if len(seconds) > 1 else seconds[0]
            self._expected.append((seconds[0] - each_s, each_s))

    def is_late(self, number: int, now: float) -> bool:
        """Whether this picture, which comes now, would be answered too late."""
        return self._spec.deadline_s < inf and self._expected_answer(now) > self._due[number] + self._spec.deadline_s

    def take(self, now: float) -> Iterator[SentGroup]:
        """What is to be sent now; it counts as on its way."""
        waiting, batch_size = self.waiting, self._spec.batch_size
        self.wake_at = inf
        while waiting:
            idle = self._ready - len(self.on_way)
            if idle < 0:
                return
            at = (self._sent_at if idle else max(self._sent_at, self._finished_at)) + self._gather_s
            if not idle and len(waiting) < batch_size:
                at = max(at, self._free_at(now) - self._way_s)
            if at > now:
                self.wake_at = max(at, now + TIMER_S)
                return
            most = len(waiting) if idle <= 1 else ceil(len(waiting) / idle)
            numbers = self._fill(min(most, batch_size), now)
            if numbers:
                expected_s = self._expect(len(numbers))
                done_at = self._free_at(now) + self._way_s + expected_s
                group = SentGroup(numbers, now, done_at, len(self.on_way) + 1, expected_s)
                self.on_way.append(group)
                self._sent_at = now
                yield group

    def finish(self, group: SentGroup, now: float) -> None:
        """``group`` was answered."""
        self.on_way.remove(group)
        self._finished_at = now
        self._slowness += (group.worker_s / group.expected_s * self._slowness - self._slowness) * GAIN
        self._error_s += (abs(group.worker_s - group.expected_s) - self._error_s) * GAIN

    def _fill(self, most: int, now: float) -> list[int]:
        waiting, deadline_s = self.waiting, self._spec.deadline_s
        if deadline_s == inf:
            return [waiting.popleft() for _ in range(most)]
        start = self._free_at(now) + self._way_s + MARGIN * self._error_s
        numbers: list[int] = []
        give_up = inf
        while waiting and len(numbers) < most:
            give_up = min(give_up, self._due[waiting[0]] + deadline_s)
            if not numbers and not self.on_way:
                late = now + self._way_s + self._expect(1) > give_up
            else:
                late = start + self._expect(len(numbers) + 1) > give_up
            if late and numbers:
                break
            number = waiting.popleft()
            if late:
                self._on_drop()
                give_up = inf
            else:
                numbers.append(number)
        return numbers

    def _expect(self, pictures: float, groups: float = 1.0) -> float:
        """Seconds of a worker for so many in so many groups."""
        fixed_s, each_s = self._expected[min(len(self.on_way), len(self._expected) - 1)]
        return (fixed_s * groups + each_s * pictures) * self._slowness

    def _free_at(self, now: float) -> float:
        """When a worker is free for what is sent next."""
        ahead = len(self.on_way) - max(self._ready, 1)
        if ahead < 0:
            return now
        if ahead == 0 and len(self.on_way) == 1:
            return max(self.on_way[0].done_at, now)
        return max(sorted([group.done_at for group in self.on_way])[ahead], now)

    def _expected_answer(self, now: float) -> float:
        if not self.waiting and not self.on_way:
            return now + self._way_s + self._expect(1)
        start = self._free_at(now) + self._way_s + MARGIN * self._error_s
        pictures = len(self.waiting) + 1
        in_group = min(pictures, self._spec.batch_size)
        rest = pictures - in_group
        return start + self._expect(rest, rest / in_group) / max(self._ready, 1) + self._expect(in_group)
