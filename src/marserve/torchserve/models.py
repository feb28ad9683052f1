"""What TorchServe's management API tells about models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Worker:
    """One worker, as TorchServe lists it. Its list also has workers that it has given up for good."""

    id: str
    #: ``READY``, or ``UNLOADING``, which TorchServe says of all that are not ready.
    status: str
    #: 0 while there is no process.
    pid: int
    #: Bytes of its process.
    memory_bytes: int

    @property
    def is_ready(self) -> bool:
        """Whether it takes work."""
        return self.status == "READY"


@dataclass(frozen=True)
class ModelVersion:
    """One version of a model."""

    name: str
    version: str
    #: The archive it was loaded from.
    url: str
    min_workers: int
    max_workers: int
    batch_size: int
    max_batch_delay_ms: int
    workers: tuple[Worker, ...]
    #: What the archive says about itself; None where that was not asked for.
    description: Mapping[str, Any] | None
    #: The whole of TorchServe's answer.
    reported: Mapping[str, Any]

    @property
    def ready_workers(self) -> int:
        """How many workers take work."""
        return sum(worker.is_ready for worker in self.workers)


def parse_model_version(content: Mapping[str, Any]) -> ModelVersion:
    """Read one entry of the answer of ``GET /models/NAME``; raises KeyError, TypeError or ValueError."""
    return ModelVersion(
        name=content["modelName"],
        version=content["modelVersion"],
        url=content["modelUrl"],
        min_workers=int(content["minWorkers"]),
        max_workers=int(content["maxWorkers"]),
        batch_size=int(content["batchSize"]),
        max_batch_delay_ms=int(content["maxBatchDelay"]),
        workers=tuple(
            Worker(str(worker["id"]), worker["status"], int(worker["pid"]), int(worker["memoryUsage"]))
            for worker in content["workers"]
        ),
        description=_parse_description(content.get("customizedMetadata")),
        reported=content,
    )


def _parse_description(content: object) -> Mapping[str, Any] | None:
    if isinstance(content, str):
        try:
            content = json.loads(content)
        except ValueError:
            return None
    return content if isinstance(content, dict) else None
