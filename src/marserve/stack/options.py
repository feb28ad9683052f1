"""What a stack is started with: the options, and the workers and threads that follow from them and the machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from marserve.arguments import UNTRAINED
from marserve.autoscale.rules import Rules

#: Each worker keeps a copy of the network and of Python; beyond this many, more cores go to each worker instead.
MOST_WORKERS = 16
#: Bytes of TorchServe with the web service, and of a worker, as the README has them.
SERVER_BYTES = 250_000_000
WORKER_BYTES = 200_000_000
#: Of the memory, what no worker is started for: archives, large pictures, caches.
FREE_SHARE = 0.25
#: A request takes the frontend some 0.4 ms and a core of a worker at least 5 ms, in int8.
CORES_PER_FRONTEND_THREAD = 4
#: The options that say which archives are built and served.
ARCHIVE_OPTIONS = ("weights", "weights_key", "labels", "precision", "calibration", "archives")
#: Those that what is deployed is remembered with.
BASE_OPTIONS = (*ARCHIVE_OPTIONS, "workers")
#: Those that a stack is not what it is by.
_PASSING = ("detach", "discard_deployed")


@dataclass(frozen=True)
class Options:
    """The options of ``marserve serve``; files are absolute and exist."""

    detach: bool = False
    #: Forget what was deployed, and serve what these options say.
    discard_deployed: bool = False
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
    #: ``torchserve``: the web service is another container's. None: the whole stack.
    only: str | None = None

    def given(self) -> dict[str, str]:
        """What was chosen, by the option's name, in a form that can be stored and compared."""
        chosen = [field.name for field in fields(self) if field.name not in _PASSING]
        return {spelled(name): str(value) for name, value in self._given(chosen).items()}

    def base(self) -> dict[str, Any]:
        """Those of ``BASE_OPTIONS`` that were given, as JSON has them."""

        def plain(value: object) -> object:
            return [str(each) for each in value] if isinstance(value, tuple) else value

        given = self._given(BASE_OPTIONS)
        return {name: str(value) if isinstance(value, Path) else plain(value) for name, value in given.items()}

    def on(self, base: Mapping[str, Any]) -> Options:
        """These options with those of ``base``, which ``base()`` gave, where they choose no archives, or no workers."""
        added: dict[str, Any] = dict(base)
        for name in ("weights", "labels", "calibration"):
            if name in added and added[name] != UNTRAINED:
                added[name] = Path(added[name])
        if "archives" in added:
            added["archives"] = tuple(map(Path, added["archives"]))
        if self.workers is not None or self.autoscale is not None:
            added.pop("workers", None)
        return replace(self, **added)

    def _given(self, names: Iterable[str]) -> dict[str, Any]:
        defaults = {field.name: field.default for field in fields(self)}
        return {name: getattr(self, name) for name in names if getattr(self, name) != defaults[name]}


def spelled(name: str) -> str:
    """Such as ``--model-api``."""
    return "--archive" if name == "archives" else f"--{name.replace('_', '-')}"


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


def room_for_workers(memory_bytes: int, models: int) -> int:
    """Workers per model for which a machine, or a container, of ``memory_bytes`` has room."""
    return max(1, int(memory_bytes * (1 - FREE_SHARE) - SERVER_BYTES) // WORKER_BYTES // models)


def concurrency(
    asked_workers: int | None,
    cores: int,
    *,
    autoscale: Rules | None = None,
    threads: int | None = None,
    room: int = MOST_WORKERS,
) -> Concurrency:
    """As many workers as ``asked_workers``, else one per core up to ``MOST_WORKERS``, as far as there is ``room``.

    ``threads`` is the number for each worker where the archives set it; then fewer workers use all cores.
    With ``autoscale``, threads are shared out as for the most workers that there may be, so that those fit as well;
    more than there are cores would only take turns.
    """
    fitting = max(1, cores // (threads or 1))
    if autoscale is not None:
        most = max(autoscale.minimum, min(autoscale.maximum, fitting))
        return Concurrency(most, threads or max(1, cores // most), at_start=autoscale.minimum)
    workers = asked_workers or min(fitting, room, MOST_WORKERS)
    return Concurrency(workers, threads or max(1, cores // workers))


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
