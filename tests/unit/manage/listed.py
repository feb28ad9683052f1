"""Versions and workers as TorchServe might list them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from marserve.torchserve.models import ModelVersion, parse_version


def a_version(
    version: str = "1.0",
    pids: tuple[int, ...] = (),
    status: str = "READY",
    queued: int = 0,
    ids: Sequence[int] = range(9000, 9999),
    archive: str = "resnet18.mar",
) -> ModelVersion:
    """A version of resnet18 with a worker for each process id."""
    workers = [
        {"id": str(number), "pid": pid, "status": status, "memoryUsage": 0, "startTime": ""}
        for number, pid in zip(ids, pids)  # noqa: B905 - more ids than workers
    ]
    reported = {
        "modelName": "resnet18",
        "modelVersion": version,
        "modelUrl": archive,
        "minWorkers": len(pids),
        "maxWorkers": len(pids),
        "batchSize": 8,
        "maxBatchDelay": 1,
        "startupTimeout": 120,
        "workers": workers,
        "jobQueueStatus": {"remainingCapacity": 384 - queued, "pendingRequests": queued},
    }
    return replace(parse_version(reported), is_default=True)
