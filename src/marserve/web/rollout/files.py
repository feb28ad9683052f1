"""What ``deploy`` and the web service tell each other, as two files of the run directory.

``deploy`` renews its order every second. An order that is not renewed expires, by the clock that all processes of a
machine share and that nobody sets: whatever ends ``deploy``, live traffic is back with the stable version at once.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from marserve.system.files import replacing

#: Seconds that an order counts without being renewed: several times the second in which it is.
LIFETIME_S = 5.0

Mode = Literal["shadow", "canary"]

#: Why a candidate fails pictures whatever they are: the worker ended under a group of them, or there is none just now.
WITHOUT_WORKER = ("worker_died", "no_worker")


class Order(BaseModel):
    """Which share of the live pictures of ``model`` a candidate gets."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    #: The same as long as one ``deploy`` tries one version: counts begin anew with another.
    id: str
    model: str
    #: The versions: the one that is the default, and the one on trial.
    stable: str
    candidate: str
    #: ``shadow``: callers get the stable version's answers, and the candidate is sent copies. ``canary``: the candidate
    #: answers them.
    mode: Mode
    share: float = Field(ge=0, le=1)
    #: By ``time.monotonic()``, which is CLOCK_MONOTONIC: one clock for all processes since the machine's start.
    expires: float

    @property
    def is_valid(self) -> bool:
        """Neither expired nor, from before a reboot, of another clock."""
        return 0 < self.expires - time.monotonic() <= LIFETIME_S

    def write(self, file: Path) -> None:
        """Raises OSError."""
        _write(file, self)

    @classmethod
    def read(cls, file: Path) -> Order | None:
        """None where there is none. Raises ValueError or OSError for what cannot be read."""
        try:
            return cls.model_validate_json(file.read_bytes())
        except FileNotFoundError:
            return None


class Counts(BaseModel):
    """What the web service has seen since it follows an order, in pictures."""

    #: That named no version, and could have been the candidate's.
    live: int = 0
    #: That the candidate answered: callers' as a canary, copies as a shadow.
    answered: int = 0
    #: Workers of the candidate that ended by themselves.
    ended_workers: int = 0
    #: That the candidate did not answer though the stable version did, by why.
    failed: dict[str, int] = {}
    #: That both versions answered, and of these those whose most probable class differed.
    compared: int = 0
    disagreed: int = 0
    #: That were to be compared, and were not: no worker was free for it.
    dropped: int = 0
    #: Of pictures that each version was sent alone: microseconds that it took, the stable version's first.
    pairs: list[tuple[int, int]] = []

    @property
    def failures(self) -> int:
        """Without those that no worker could answer: workers that end are counted by themselves."""
        return sum(count for reason, count in self.failed.items() if reason not in WITHOUT_WORKER)


class Seen(BaseModel):
    """What the web service writes beside the order, every second."""

    #: Another one after each start of the web service, whose counts begin at 0.
    instance: str
    #: The id of the order that it follows; None: none.
    order: str | None
    counts: Counts

    def write(self, file: Path) -> None:
        """Raises OSError."""
        _write(file, self)

    @classmethod
    def read(cls, file: Path) -> Seen | None:
        """None where there is none, or nothing that could be read."""
        try:
            return cls.model_validate_json(file.read_bytes())
        except (OSError, ValidationError):
            return None


def seen_beside(order: Path) -> Path:
    """The file of ``Seen`` for the order in the file ``order``."""
    return order.with_name(f"{order.stem}-seen.json")


def _write(file: Path, content: BaseModel) -> None:
    with replacing(file, mode=0o600) as new:
        new.write(content.model_dump_json().encode())
