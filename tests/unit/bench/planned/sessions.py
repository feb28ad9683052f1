"""A session with a pod that does not exist."""

from __future__ import annotations

from bench.planned.session import SEED, Part, Session
from marserve.plan.machine import Disturbance
from marserve.plan.measure import Recording
from marserve.plan.pod_spec import PodSpec
from tests.unit.plan.measurements import POD, closed_stage, conditions, open_stage, stages

QUIET = Disturbance(0.0, 0.0, 0.0)
#: A load of each kind, and requests of its parts.
LOADS = (("poisson", 0.5), ("gamma-4", 0.7))
REQUESTS = 2000


def session(measured: PodSpec = POD, loaded: PodSpec = POD) -> Session:
    """``measured``, and then another pod, ``loaded``: the machine has changed meanwhile."""
    recording = Recording(conditions(), tuple(stages(measured)))
    capacity = recording.evaluated().capacity.per_s
    parts = [Part(closed_stage(loaded, 3), QUIET)]
    for half, seed in enumerate((SEED, SEED + 1)):
        for arrivals, load in LOADS[:: 1 - 2 * half]:
            parts.append(Part(open_stage(loaded, arrivals, load, load * capacity, seed, REQUESTS), QUIET))
        parts.append(Part(closed_stage(loaded, 4 + half), QUIET))
    return Session(recording, tuple(parts))
