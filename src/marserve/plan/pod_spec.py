"""What a pod is made of: the figures that are simulated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import TypeVar

Value = TypeVar("Value")

#: Seconds for which each factor of ``PodSpec.pace`` holds: long enough to tell a machine's pace from that of a picture,
#: and short against a queue that builds up near the capacity.
PACE_S = 5.0
#: In which the length of a round of groups is found, which depends on how much of it the web service works.
CAPACITY_STEPS = 8


@dataclass(frozen=True)
class PodSpec:
    """What a pod is made of, and how long things take in it."""

    workers: int
    #: ``seconds[busy - 1][pictures - 1]`` of a worker for a group, while ``busy`` workers are at work and nobody else.
    seconds: tuple[tuple[float, ...], ...]
    #: ``noise[pictures - 1]``: factors of these seconds to draw from, 1 on average; the last also of larger groups.
    noise: tuple[tuple[float, ...], ...] = ((1.0,),)
    #: Factors of these seconds from ``PACE_S`` to ``PACE_S``, 1 on average: a machine is not always equally fast.
    pace: tuple[float, ...] = (1.0,)
    #: Those that the processes below share.
    cores: float = inf
    #: ``worker_cores[busy - 1][pictures - 1]`` that a worker takes with a group; the last also of more.
    worker_cores: tuple[tuple[float, ...], ...] = ((1.0,),)
    #: Seconds of the web service's one thread for a picture, until it waits for a worker and once it is answered, and
    #: for a group besides.
    arrival_s: float = 0.0
    answer_s: float = 0.0
    answer_group_s: float = 0.0
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
    #: Seconds of an answer besides all these to draw from, in which nothing of the pod is at work: the network, and by
    #: how much ways differ.
    besides_s: tuple[float, ...] = (0.0,)
    #: Pictures at once, waiting or at work; more are refused.
    max_in_flight: float = inf
    deadline_s: float = inf

    @property
    def batch_size(self) -> int:
        return len(self.seconds[0])

    @property
    def capacity_per_s(self) -> float:
        """Pictures a second while full groups always wait for all workers."""
        computing = self.workers * nearest(nearest(self.worker_cores, self.workers), self.batch_size)
        # As of ``Pod``: where more cores are wanted than there are, all go slower by the same share.
        workers_alone, both, web_alone = (
            min(self.cores / wanted, 1.0) for wanted in (computing, computing + 1 + self.beside, 1 + self.beside)
        )
        web_s = self.workers * ((self.arrival_s + self.answer_s) * self.batch_size + self.answer_group_s)
        group_s = nearest(self.seconds, self.workers)[-1]
        round_s, web_share, group_share = group_s + self.pause_s, 1.0, 1.0
        for _ in range(CAPACITY_STEPS):
            in_group_s = group_s / (web_share * both + (1 - web_share) * workers_alone)
            in_web_s = web_s / (group_share * both + (1 - group_share) * web_alone)
            round_s = max(in_group_s + self.pause_s, in_web_s)
            web_share, group_share = in_web_s / round_s, in_group_s / round_s
        return self.workers * self.batch_size / round_s

    def slowed(self, factor: float) -> PodSpec:
        """Where all that it does takes ``factor`` times as long."""
        return replace(
            self,
            seconds=tuple(tuple(factor * each for each in sizes) for sizes in self.seconds),
            arrival_s=factor * self.arrival_s,
            answer_s=factor * self.answer_s,
            answer_group_s=factor * self.answer_group_s,
            way_s=factor * self.way_s,
            way_picture_s=factor * self.way_picture_s,
            pause_s=factor * self.pause_s,
        )


def nearest(values: Sequence[Value], number: int) -> Value:
    """Of values for 1, 2, ... that for ``number``; the last also for more."""
    return values[min(number, len(values)) - 1]
