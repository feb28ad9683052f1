"""How many workers per model, and how many threads for each."""

from __future__ import annotations

from dataclasses import dataclass

from resnet18.cpu import usable_cores

#: Each worker keeps a copy of the network and of Python; beyond this many, more cores go to each worker instead.
MOST_WORKERS = 8


@dataclass(frozen=True)
class Concurrency:
    """The workers of each model, and the threads that each may use so that all together use each core once."""

    workers: int
    threads: int

    def __str__(self) -> str:
        """Such as ``8 workers of 2 threads``."""
        return f"{_counted(self.workers, 'worker')} of {_counted(self.threads, 'thread')}"


def concurrency(asked_workers: int | None, cores: int | None = None) -> Concurrency:
    """As many workers as asked for, else one per usable core up to ``MOST_WORKERS``."""
    cores = cores or usable_cores()
    workers = asked_workers or min(cores, MOST_WORKERS)
    return Concurrency(workers, max(1, cores // workers))


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
