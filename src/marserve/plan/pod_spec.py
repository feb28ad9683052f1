"""What a pod is made of: the figures that are simulated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from statistics import fmean
from typing import TypeVar

Value = TypeVar("Value")

#: Seconds for which each factor of ``PodSpec.pace`` holds: long enough to tell a machine's pace from that of a picture,
#: and short against its slow moments, which last one to three seconds.
PACE_S = 0.5
#: In which the length of a round of groups is found, which depends on how much of it the web service works for others.
CAPACITY_STEPS = 8


@dataclass(frozen=True)
class PodSpec:
    """What a pod is made of, and how long things take in it."""

    workers: int
    #: ``seconds[busy - 1][pictures - 1]`` of a worker for a group, while ``busy`` workers are at work and nobody else.
    seconds: tuple[tuple[float, ...], ...]
    #: ``noise[pictures - 1]``: factors of these seconds to draw from, 1 on average; the last also of larger groups.
    noise: tuple[tuple[float, ...], ...] = ((1.0,),)
    #: Factors of all that takes time, from ``PACE_S`` to ``PACE_S``: a machine is not always equally fast.
    pace: tuple[float, ...] = (1.0,)
    #: That of the first moment, by number; None: one by chance.
    pace_from: int | None = None
    #: Those that the processes below share.
    cores: float = inf
    #: ``worker_cores[busy - 1][pictures - 1]`` that a worker takes with a group; the last also of more.
    worker_cores: tuple[tuple[float, ...], ...] = ((1.0,),)
    #: Seconds of the web service's one thread for a picture, until it waits for a worker and once it is answered, and
    #: for a group besides.
    arrival_s: float = 0.0
    answer_s: float = 0.0
    answer_group_s: float = 0.0
    #: More for a picture that comes while it has nothing to do: it must wake up.
    wake_s: float = 0.0
    #: Cores that TorchServe, and whatever else works beside it, take for as long as the web service works.
    beside: float = 0.0
    #: Seconds of a group's way to TorchServe and back, without work on a core that others miss.
    way_s: float = 0.0
    #: And for each picture of the group but the first.
    way_picture_s: float = 0.0
    #: Seconds of a worker from one group to the next: TorchServe's ``maxBatchDelay``, and what it reads and writes.
    pause_s: float = 0.0
    #: And for each picture of the next group but the first.
    pause_picture_s: float = 0.0
    #: TorchServe's ``maxBatchDelay``, for the dispatcher.
    batch_delay_s: float = 0.0
    #: Seconds of an answer besides all these to draw from, in which nothing of the pod is at work: the network, and by
    #: how much ways differ.
    besides_s: tuple[float, ...] = (0.0,)
    #: Pictures at once, waiting or at work; more are refused.
    max_in_flight: float = inf
    deadline_s: float = inf

    def slowed(self, factor: float) -> PodSpec:
        """The same pod where all that takes time takes ``factor`` times as long, as on another day of its machine."""
        return replace(self, pace=tuple(factor * each for each in self.pace))

    @property
    def batch_size(self) -> int:
        return len(self.seconds[0])

    @property
    def capacity_per_s(self) -> float:
        """Pictures a second while full groups always wait for all workers."""
        group_s = nearest(self.seconds, self.workers)[-1]
        computing = self.workers * nearest(nearest(self.worker_cores, self.workers), self.batch_size)
        # As of ``Pod``: workers have what the web service leaves, and its work for a group begins with the pause.
        alone, beside = (min(max(left, 0.0) / computing, 1.0) for left in (self.cores, self.cores - 1 - self.beside))
        pictures_s = (self.arrival_s + self.answer_s) * self.batch_size
        web_s = (pictures_s + self.answer_group_s + self.wake_s) / min(self.cores / (1 + self.beside), 1.0)
        pause_s = self.pause_s + self.pause_picture_s * (self.batch_size - 1)
        round_s = in_group_s = group_s
        for _ in range(CAPACITY_STEPS):
            beside_s = max(web_s - pause_s, 0.0) + (self.workers - 1) * web_s * in_group_s / round_s
            in_group_s = beside_s + max(group_s - beside * beside_s, 0.0) / alone
            round_s = max(in_group_s + pause_s, self.workers * web_s)
        return self.workers * self.batch_size / round_s * fmean(1 / factor for factor in self.pace)


def nearest(values: Sequence[Value], number: int) -> Value:
    """Of values for 1, 2, ... that for ``number``; the last also for more."""
    return values[min(number, len(values)) - 1]
