"""``marserve status``: a stack at one moment, what is wrong with it, and all of it on one screen."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from marserve.paths import command
from marserve.stack.restarts import Restarts
from marserve.torchserve.metrics import Rates
from marserve.torchserve.worker_process import WorkerReport
from marserve.web.models import Weights

_COLUMNS = ("MODEL", "VERSION", "WEIGHTS", "WORKER", "PID", "STATE", "MEMORY", "QUEUE", "WAIT", "REQUESTS")
UNKNOWN = "-"


@dataclass(frozen=True)
class VersionStatus:
    model: str
    version: str
    is_default: bool
    archive: str
    weights: Weights
    workers: Sequence[WorkerReport]
    #: Requests that wait in TorchServe, and that may.
    queued: int
    queue_capacity: int
    rates: Rates
    #: Pictures that wait in the web service; 0 where its metrics cannot be read.
    waiting: int = 0
    #: Pictures that the web service refuses, since workers ended under them.
    quarantined: int = 0

    @property
    def problems(self) -> list[str]:
        name = f"{self.model} {self.version}"
        dead = [worker.id for worker in self.workers if worker.state == "dead"]
        found = []
        if dead:
            found.append(
                f"{name}: TorchServe lists worker {', '.join(dead)}, which is dead; where the supervisor does not "
                f"replace it: {command('recover')}"
            )
        if self.is_default and not any(worker.state == "ready" for worker in self.workers):
            hint = "" if dead else f"; {command('logs --errors')} may say why" if self.workers else ": scale it"
            found.append(f"{name} is the default and has no READY worker{hint}")
        if self.queue_capacity and self.queued * 2 > self.queue_capacity:
            found.append(f"{name}: {self.queued} of {self.queue_capacity} places in its queue are taken")
        return found


@dataclass(frozen=True)
class Status:
    web_port: int
    takes_archives: bool
    #: Why the web service is not ready; empty when it is.
    web_reasons: Sequence[str]
    #: Answers a second to posted pictures, by status class.
    web_rates: dict[str, float]
    versions: Sequence[VersionStatus]
    #: The version that ``rollback`` would bring back, by model.
    rollback: dict[str, str] = field(default_factory=dict)
    #: The change that a command is at work on.
    under_way: str | None = None
    #: What is wrong with the record of what is deployed, a change that was left half done included.
    record_problem: str | None = None
    #: Whether a supervisor starts again what ends, and what it has.
    is_watched: bool = True
    restarts: Restarts = field(default_factory=Restarts)
    #: The services whose processes have ended.
    missing: Sequence[str] = ()
    #: Why TorchServe does not say what it serves; empty where it does.
    torchserve_reason: str = ""

    @property
    def problems(self) -> list[str]:
        """What needs somebody's attention; empty where all is well."""
        watched = "it is being started again" if self.is_watched else "nobody starts it again"
        nobody = f"Nobody watches the stack: {command('serve')}, with the options that it has, goes on with it."
        return [
            *(f"{name[0].upper()}{name[1:]} has ended; {watched}." for name in self.missing),
            *([] if self.is_watched else [nobody]),
            *([f"TorchServe does not say what it serves: {self.torchserve_reason}"] if self.torchserve_reason else []),
            *(f"The web service is not ready: {reason}" for reason in self.web_reasons),
            *(problem for version in self.versions for problem in version.problems),
            *([self.record_problem] if self.record_problem else []),
        ]

    @property
    def notes(self) -> list[str]:
        """What somebody should know, and may want so."""
        untrained = [f"{one.model} {one.version}" for one in self.versions if one.weights == "untrained"]
        refused = [one for one in self.versions if one.quarantined]
        return [
            *(f"{name} is untrained: its labels mean nothing." for name in untrained),
            *(
                f"{one.model} {one.version}: workers ended under {one.quarantined} "
                f"picture{'s' if one.quarantined > 1 else ''}, refused from now on; quarantine.json names them."
                for one in refused
            ),
        ]

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "problems": self.problems}


def render_status(status: Status) -> str:
    """One screen, in colors where standard output is a terminal."""
    table = Table(*_COLUMNS, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for version in status.versions:
        left, right = _version_cells(version)
        workers: Sequence[WorkerReport | None] = version.workers or [None]
        for worker in workers:
            table.add_row(*left, *_worker_cells(worker), *right)
            left, right = ("",) * len(left), ("",) * len(right)
    answers = ", ".join(f"{rate:.1f}/s {kind}" for kind, rate in sorted(status.web_rates.items()) if rate) or "idle"
    state = "NOT READY" if status.web_reasons else "ready"
    console = Console(width=1000, markup=False, highlight=False, emoji=False)
    with console.capture() as screen:
        archives = ", takes new archives" if status.takes_archives else ""
        console.print(f"Web port {status.web_port}: {state}, {answers}{archives}\n")
        console.print(table)
        for model, before in status.rollback.items():
            console.print(f"\nrollback {model} brings back {before}.")
        if status.under_way:
            console.print(f"\nUnder way: {status.under_way}.")
        console.print()
        for line in _restart_lines(status.restarts):
            console.print(line, style="yellow")
        for problem in status.problems:
            console.print(f"! {problem}", style="red")
        for note in status.notes:
            console.print(note, style="yellow")
        if not status.problems:
            console.print("All else is well." if status.notes else "All is well.")
    return "\n".join(line.rstrip() for line in screen.get().splitlines())


def _restart_lines(restarts: Restarts) -> list[str]:
    """How often what was started again, and the last time; nothing where nothing was."""
    if not restarts.latest:
        return []
    counted = ", ".join(f"{name} {count}" for name, count in sorted(restarts.counts.items()))
    last = restarts.latest[-1]
    at = time.strftime("%H:%M:%S", time.localtime(last.at))
    done = "not back yet" if last.seconds is None else f"back after {last.seconds:.1f} s"
    done = "" if last.service == "supervisor" else f"; {done}"  # how long it was gone is not known
    return [f"Restarts: {counted}. Last: {at} {last.service}: {last.reason}{done}."]


def _version_cells(version: VersionStatus) -> tuple[tuple[str | Text, ...], tuple[str, ...]]:
    rate, wait = version.rates.requests_per_s, version.rates.queue_ms
    weights = Text(version.weights, "yellow" if version.weights == "untrained" else "")
    return (version.model, f"{version.version}{' *' if version.is_default else ''}", weights), (
        f"{f'{version.waiting} + ' if version.waiting else ''}{version.queued}/{version.queue_capacity}",
        UNKNOWN if wait is None else f"{wait:.1f} ms",
        UNKNOWN if rate is None else f"{rate:.1f}/s",
    )


def _worker_cells(worker: WorkerReport | None) -> tuple[str | Text, ...]:
    if worker is None:
        return UNKNOWN, UNKNOWN, "none", UNKNOWN
    memory = UNKNOWN if worker.rss is None else f"{(worker.pss or worker.rss) / 1e6:.0f} MB"
    state = {"ready": Text("READY", "green"), "dead": Text("DEAD", "red")}.get(worker.state, Text(worker.state))
    return worker.id, str(worker.pid) if worker.rss is not None else UNKNOWN, state, memory
