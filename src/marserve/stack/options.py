"""What a stack is started with: the options, and the workers and threads that follow from them and the machine."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from marserve.autoscale.rules import Rules

#: Each worker keeps a copy of the network and of Python; beyond this many, more cores go to each worker instead.
MOST_WORKERS = 16
#: A request takes the frontend some 0.4 ms and a core of a worker at least 5 ms, in int8.
CORES_PER_FRONTEND_THREAD = 4


@dataclass(frozen=True)
class Options:
    """The options of ``marserve serve``; files are absolute and exist."""

    detach: bool = False
    #: A file or a folder, ``untrained``, or None to look for the official weights.
    weights: Path | str | None = None
    #: Which network in a file of several.
    weights_key: str | None = None
    labels: Path | None = None
    precision: str | None = None
    #: Folder of pictures for int8; None where the archives at hand were built with them.
    calibration: Path | None = None
    #: Built archives to serve instead of ResNet18; the first is the default model.
    archives: tuple[Path, ...] = ()
    #: Per model; None means as many as the cores suggest.
    workers: int | None = None
    #: Address that the web service listens on; everything else stays on 127.0.0.1.
    host: str = "127.0.0.1"
    #: Whether archives can be registered while it runs.
    model_api: bool = False
    #: How the number of workers is adapted; None: it stays as it is.
    autoscale: Rules | None = None

    def given(self) -> dict[str, str]:
        """What was chosen, by the option's name, in a form that can be stored and compared."""
        spelled = {"archives": "archive", "model_api": "model-api", "weights_key": "weights-key"}
        return {
            f"--{spelled.get(field.name, field.name)}": str(getattr(self, field.name))
            for field in fields(self)
            if field.name != "detach" and getattr(self, field.name) != field.default
        }


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
    asked_workers: int | None, cores: int, *, autoscale: Rules | None = None, threads: int | None = None
) -> Concurrency:
    """As many workers as ``asked_workers``, else one per core up to ``MOST_WORKERS``.

    ``threads`` is the number for each worker where the archives set it; then fewer workers use all cores.
    With ``autoscale``, threads are shared out as for the most workers that there may be, so that those fit as well;
    more than there are cores would only take turns.
    """
    fitting = max(1, cores // (threads or 1))
    if autoscale is not None:
        most = max(autoscale.minimum, min(autoscale.maximum, fitting))
        return Concurrency(most, threads or max(1, cores // most), at_start=autoscale.minimum)
    workers = asked_workers or min(fitting, MOST_WORKERS)
    return Concurrency(workers, threads or max(1, cores // workers))


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
