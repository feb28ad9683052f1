"""From traffic and a limit to pods: how many hold some rate, simulated in a cell of few pods.

A cell stands for all pods in the ratio of their numbers. What is larger than a cell is extrapolated, and says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from marserve.plan.arrivals import ArrivalProcess
from marserve.plan.fleet import Balance, Fleet, FleetRun
from marserve.plan.pod_spec import PodSpec

#: Pods that are simulated together at most, requests of a run, and steps in which the highest load that is held is
#: searched.
CELL_PODS, REQUESTS, STEPS = 8, 20_000, 7


@dataclass(frozen=True)
class Goal:
    """``share`` of all requests, 0 to 1, answered within ``limit_s``."""

    limit_s: float
    share: float

    def is_met(self, run: FleetRun) -> bool:
        return run.share(self.limit_s) >= self.share


@dataclass(frozen=True)
class Setting:
    """What stays the same while numbers of pods are tried."""

    spec: PodSpec
    goal: Goal
    arrivals: ArrivalProcess
    balance: Balance = "least"
    seed: int = 18
    cold_start_s: float = 0.0

    def run(self, pods: int, per_s: float, *, requests: int = REQUESTS) -> FleetRun:
        """``pods`` under ``per_s`` requests a second, or as much of both as a cell has."""
        cell = min(pods, CELL_PODS)
        due = self.arrivals.times(requests, per_s * cell / pods, self.seed)
        return Fleet(self.spec, cell, due, balance=self.balance, seed=self.seed).run()

    def fleet(self, pods: int, due: Sequence[float], **how: Any) -> FleetRun:
        """A run of exactly these, with what ``Fleet`` takes besides."""
        return Fleet(
            self.spec, pods, due, balance=self.balance, seed=self.seed, cold_start_s=self.cold_start_s, **how
        ).run()

    def holds(self, pods: int, per_s: float) -> bool:
        return per_s < pods * self.spec.capacity_per_s and self.goal.is_met(self.run(pods, per_s))

    def held_per_pod(self, pods: int = CELL_PODS) -> float:
        """The most requests a second of each of ``pods`` within the goal; 0 where even hardly any are not."""
        capacity = self.spec.capacity_per_s
        low, high = 0.0, 1.0
        for _ in range(STEPS):
            middle = (low + high) / 2
            low, high = (middle, high) if self.holds(pods, middle * capacity * pods) else (low, middle)
        return low * capacity

    def pods_for(self, per_s: float) -> int | None:
        """The least that hold ``per_s`` within the goal; None where no number does."""
        least = max(math.ceil(per_s / self.spec.capacity_per_s), 1)
        for pods in range(least, CELL_PODS + 1):
            if self.holds(pods, per_s):
                return pods
        held = self.held_per_pod()
        return max(math.ceil(per_s / held), CELL_PODS + 1) if held else None


def beside_a_lost_zone(pods: int, zones: int) -> int:
    """The least of which ``pods`` are left when one of ``zones`` is lost."""
    return next(number for number in range(pods + 1, 2 * pods + 2) if number - math.ceil(number / zones) >= pods)
