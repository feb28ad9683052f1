"""What a pod is made of: the figures that are simulated."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf


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
