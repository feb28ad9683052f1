"""How many processor cores this process may really use, and how they are shared between workers."""

from __future__ import annotations

import os
from pathlib import Path

#: cgroup v2, where a container's CPU limit stands as "quota period" in microseconds ("max" means unlimited).
CGROUP_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")

#: The variable by which whoever starts TorchServe tells its workers how many of them there are per model.
WORKERS_VARIABLE = "CLASSIFIER_WORKERS"


def usable_cores(cgroup_cpu_max: Path = CGROUP_CPU_MAX) -> int:
    """Cores this process may run on: its CPU affinity, capped by the container's CPU quota; at least 1."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS has no affinity
        cores = os.cpu_count() or 1
    try:
        quota, period = cgroup_cpu_max.read_text().split()
        if quota != "max":
            cores = min(cores, int(quota) // int(period))
    except (OSError, ValueError):
        pass  # no cgroup v2 here: no quota to honour
    return max(1, cores)


def threads_per_worker(configured_workers: int | None, cores: int | None = None) -> int:
    """Inference threads for one worker, so that all workers together use each core once.

    The worker count comes from the environment (``scripts/serve`` sets it), else from ``minWorkers`` in
    model-config.yaml, else it is TorchServe's own default of one worker per core.
    """
    cores = cores or usable_cores()
    told = os.environ.get(WORKERS_VARIABLE, "")
    workers = int(told) if told.isdigit() and int(told) > 0 else configured_workers or cores
    return max(1, cores // workers)
