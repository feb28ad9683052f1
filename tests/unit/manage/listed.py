"""Versions and workers as TorchServe might list them."""

from __future__ import annotations

from dataclasses import replace

from marserve.torchserve.models import ModelVersion, parse_version


def a_version(version: str = "1.0", pids: tuple[int, ...] = (), status: str = "READY", queued: int = 0) -> ModelVersion:
    """A version of resnet18 with a worker for each process id; their ids begin at 9000."""
    workers = [
        {"id": str(9000 + i), "pid": pid, "status": status, "memoryUsage": 0, "startTime": ""}
        for i, pid in enumerate(pids)
    ]
    reported = {
        "modelName": "resnet18",
        "modelVersion": version,
        "modelUrl": "resnet18.mar",
        "minWorkers": len(pids),
        "maxWorkers": len(pids),
        "batchSize": 8,
        "maxBatchDelay": 1,
        "startupTimeout": 120,
        "workers": workers,
        "jobQueueStatus": {"remainingCapacity": 384 - queued, "pendingRequests": queued},
    }
    return replace(parse_version(reported), is_default=True)
