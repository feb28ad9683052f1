"""What can be measured: one way to run one server, what it is given, and how it is started."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.gpu import Device
from bench.target import Target


@dataclass(frozen=True)
class Workspace:
    """``temp`` is removed after the run; ``results`` stays."""

    temp: Path
    results: Path
    photographs: Path
    #: The seeded state dict that every server loads.
    weights: Path

    @property
    def logs(self) -> Path:
        return self.results / "logs"


@dataclass(frozen=True)
class RunningServer:
    """A started server. ``targets`` has one entry for each level at which it is measured, by the level's name."""

    #: The value of ``server_process.MARK`` in its processes' environment.
    mark: str
    targets: dict[str, Target]
    #: ``time.monotonic`` when its process was started.
    started: float
    #: All that it was given to listen on.
    ports: tuple[int, ...]
    #: Where its output goes, for a person whom a failure concerns.
    log: Path


class Candidate(Protocol):
    """``key`` names it in files and on the command line: ``ours/f32``, ``litserve/recipe``."""

    @property
    def key(self) -> str: ...

    @property
    def title(self) -> str:
        """What tables call it."""

    @property
    def levels(self) -> tuple[str, ...]:
        """The names of the targets it will have."""

    @property
    def uses_our_engine(self) -> bool: ...

    @property
    def device(self) -> Device:
        """What it computes on. Key and title of one on a GPU say so."""

    def prepare(self) -> object:
        """Whatever must exist before a start is timed. Raises CandidateError where it cannot be measured here."""

    def run(self) -> AbstractContextManager[RunningServer]:
        """Start it, without waiting until it answers, and end all its processes in the end."""


def measured_keys(candidate: Candidate) -> Iterator[tuple[str, str]]:
    """(level, key of that level's measurements); a server with one level has its own key."""
    for level in candidate.levels:
        yield level, f"{candidate.key}/{level}" if len(candidate.levels) > 1 else candidate.key
