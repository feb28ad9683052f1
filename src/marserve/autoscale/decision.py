"""A decision, with what it rests on."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Ground(enum.Enum):
    """Why a number of workers is chosen."""

    WITHIN_TARGET = "within the target"
    BOUNDS = "bounds"
    STARTING = "not all workers are ready"
    JUDGING = "requests wait, for a short time so far"
    WAITING = "requests wait"
    DRAINING = "the queue drains"
    LIMITED = "no more are allowed"
    QUIET = "quiet"


@dataclass(frozen=True)
class Decision:
    """How many workers there should be."""

    workers: int
    ground: Ground
    #: For a person: the figures that led to it.
    reason: str
