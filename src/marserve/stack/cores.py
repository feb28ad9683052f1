"""How many workers per model, and how many threads for each."""

from __future__ import annotations

from dataclasses import dataclass

from marserve.autoscale.rules import Rules
from marserve.handler.resnet18.cpu import usable_cores

#: Each worker keeps a copy of the network and of Python; beyond this many, more cores go to each worker instead.
MOST_WORKERS = 16
#: A request takes the frontend some 0.4 ms and a core of a worker at least 5 ms, in int8.
CORES_PER_FRONTEND_THREAD = 4


@dataclass(frozen=True)
class Concurrency:
    """The workers of each model, and the threads that each may use so that all together use each core once."""

    workers: int
    threads: int
    #: Workers that are started, where not all are from the beginning.
    at_start: int | None = None

    @property
    def frontend_threads(self) -> int:
        """Threads of TorchServe's frontend that read requests and write answers.

        Its own default is one a core: then refusing a flood of requests takes the processor from the workers.
        """
        return max(1, self.workers * self.threads // CORES_PER_FRONTEND_THREAD)

    def __str__(self) -> str:
        """Such as ``8 workers of 2 threads``."""
        return f"{_counted(self.at_start or self.workers, 'worker')} of {_counted(self.threads, 'thread')}"


def concurrency(
    asked_workers: int | None, cores: int | None = None, *, autoscale: Rules | None = None, threads: int | None = None
) -> Concurrency:
    """As many workers as asked for, else one per usable core up to ``MOST_WORKERS``.

    ``threads`` is the number for each worker where the archives set it; then fewer workers use all cores.
    With ``autoscale``, threads are shared out as for the most workers that there may be, so that those fit as well;
    more than there are cores would only take turns.
    """
    cores = cores or usable_cores()
    fitting = max(1, cores // (threads or 1))
    if autoscale is not None:
        most = max(autoscale.minimum, min(autoscale.maximum, fitting))
        return Concurrency(most, threads or max(1, cores // most), at_start=autoscale.minimum)
    workers = asked_workers or min(fitting, MOST_WORKERS)
    return Concurrency(workers, threads or max(1, cores // workers))


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
