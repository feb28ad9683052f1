"""The simulated pod, and what it would say of itself in Server-Timing."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf

from marserve.plan.dispatcher import SentGroup
from marserve.plan.pod import Pod
from marserve.plan.pod_spec import PodSpec


@dataclass(frozen=True)
class AnsweredGroup:
    """Seconds of one group; its pictures by their numbers."""

    numbers: list[int]
    company: int
    answered_at: float
    group_s: float
    worker_s: float


class ObservedPod(Pod):
    """Notes its groups, and how long each picture was in the dispatcher's queue."""

    def __init__(self, spec: PodSpec, due: Sequence[float], took: list[float | None], *, seed: int = 0) -> None:
        super().__init__(spec, due, took, seed=seed)
        self.groups: list[AnsweredGroup] = []
        #: By the number of the picture.
        self.queue_s: dict[int, float] = {}
        self._submitted: dict[int, float] = {}

    def _submit(self, number: int) -> None:
        self._submitted[number] = self.now
        super()._submit(number)

    def _send(self, group: SentGroup) -> None:
        super()._send(group)
        self.queue_s.update({number: self.now - self._submitted.pop(number) for number in group.numbers})

    def _finish(self, group: SentGroup) -> None:
        self.groups.append(
            AnsweredGroup(group.numbers, group.company, self.now, self.now - group.sent_at, group.worker_s)
        )
        super()._finish(group)


def observe(spec: PodSpec, due: Sequence[float], *, seed: int = 0) -> tuple[ObservedPod, list[float | None]]:
    """A pod after all of ``due``, and the seconds that each of them took."""
    took: list[float | None] = [None] * len(due)
    pod = ObservedPod(spec, due, took, seed=seed)
    for number in range(len(due)):
        pod.arrive(number)
    pod.advance(inf)
    return pod, took


class ClosedLoop(ObservedPod):
    """Its clients send the next picture when they have the answer to the one before."""

    def __init__(self, spec: PodSpec, clients: int, *, seed: int) -> None:
        self.due: list[float] = []
        self.took: list[float | None] = []
        self.coming = [0.0] * clients
        # Whoever is refused would never come back.
        super().__init__(replace(spec, max_in_flight=inf, deadline_s=inf), self.due, self.took, seed=seed)

    def run(self, seconds: float) -> None:
        while self.now < seconds:
            self.advance(self.now)
            if self.coming and self.coming[0] <= self.next_at:
                self.due.append(max(heapq.heappop(self.coming), self.now))
                self.took.append(None)
                self.arrive(len(self.due) - 1)
            else:
                self.advance(self.next_at)

    def _note_answers(self, group: SentGroup) -> None:
        super()._note_answers(group)
        for number in group.numbers:
            heapq.heappush(self.coming, self.due[number] + (self.took[number] or 0.0))


def observe_clients(spec: PodSpec, clients: int, seconds: float, *, seed: int = 0) -> ClosedLoop:
    """A pod after ``seconds`` of so many clients, each of which always has a picture out."""
    loop = ClosedLoop(spec, clients, seed=seed)
    loop.run(seconds)
    return loop
