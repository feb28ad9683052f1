"""What TorchServe's management API says about models: their versions, workers and queues.

A question may take several requests, so it is a generator that does no I/O itself: it yields a path, is sent the JSON
of the answer to ``GET`` that path, and returns what it found. The synchronous client and the web service both drive
it. Where an answer has another form, one of ``MALFORMED`` is raised.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

MALFORMED = (KeyError, IndexError, TypeError, AttributeError, ValueError)

#: The most that TorchServe lists in one answer.
PAGE_SIZE = 100
#: Seconds that TorchServe gives a worker to start where it does not say.
STARTUP_TIMEOUT_S = 120
#: And to answer.
RESPONSE_TIMEOUT_S = 120

Result = TypeVar("Result")
Question = Generator[str, Any, Result]


@dataclass(frozen=True)
class ListedWorker:
    """One worker, as TorchServe lists it. Its list also has workers that it has given up for good."""

    id: str
    #: ``READY``, or ``UNLOADING``, which TorchServe says of all that are not ready.
    status: str
    #: 0 while there is no process.
    pid: int
    #: When TorchServe started it, in its own words.
    since: str = ""

    @property
    def is_ready(self) -> bool:
        return self.status == "READY"


@dataclass(frozen=True)
class ModelVersion:
    model: str
    version: str
    #: The file or address that it was loaded from.
    archive: str
    #: In the order of their start; scaling down takes from the end. The list is no proof that they live.
    workers: tuple[ListedWorker, ...]
    #: Whether it answers requests that name no version; false, too, where it was described alone and by its number.
    is_default: bool = False
    batch_size: int = 1
    #: Seconds in which a worker that has taken one request takes more, up to a batch.
    batch_delay_s: float = 0.0
    #: Requests that wait for a worker, and that may wait.
    queued: int = 0
    queue_capacity: int = 0
    #: Seconds after which TorchServe itself gives up a worker that is starting.
    startup_timeout_s: int = STARTUP_TIMEOUT_S
    #: Seconds after which it ends one that does not answer.
    response_timeout_s: int = RESPONSE_TIMEOUT_S
    #: What the archive says about itself; None where that was not requested.
    description: Mapping[str, Any] | None = None
    #: The whole of TorchServe's answer.
    reported: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def ready_workers(self) -> int:
        return sum(worker.is_ready for worker in self.workers)

    @property
    def ready_pids(self) -> frozenset[int]:
        """Their process ids; a worker that is restarted has another one."""
        return frozenset(worker.pid for worker in self.workers if worker.is_ready)

    @property
    def ready_processes(self) -> frozenset[tuple[int, str]]:
        """Which they are: a container that is started again gives the same ids to others."""
        return frozenset((worker.pid, worker.since) for worker in self.workers if worker.is_ready)

    def __str__(self) -> str:
        return f"{self.model} {self.version}"


def model_path(model: str, version: str | None = None) -> str:
    """The path of a model's default version, or of ``version``; of all for ``all``."""
    return "/".join(["/models", *(quote(part, safe="") for part in (model, version) if part is not None)])


def model_names() -> Question[list[str]]:
    names: list[str] = []
    query = {"limit": str(PAGE_SIZE)}
    while True:
        page = yield f"/models?{urlencode(query)}"
        names += [str(model["modelName"]) for model in page["models"]]
        if not page.get("nextPageToken"):
            return names
        query["next_page_token"] = str(page["nextPageToken"])


def one_version(model: str, version: str | None = None, *, customized: bool = False) -> Question[ModelVersion]:
    """``version``, or the default one.

    ``customized``: with what the archive says about itself; that goes through the model's queue and so may take long.
    """
    reported = yield model_path(model, version) + ("?customized=true" if customized else "")
    return replace(parse_version(reported[0]), is_default=version is None)


def all_versions(model: str) -> Question[list[ModelVersion]]:
    """Every version of a model, in the order of their numbers, and which one is the default."""
    reported = yield model_path(model, "all")
    versions = [parse_version(entry) for entry in reported]
    # Only another request says which one is the default.
    default = versions[0] if len(versions) == 1 else parse_version((yield model_path(model))[0])
    marked = [replace(version, is_default=version.version == default.version) for version in versions]
    return sorted(marked, key=lambda version: version_key(version.version))


def every_version() -> Question[list[ModelVersion]]:
    versions = []
    for name in sorted((yield from model_names())):
        versions += yield from all_versions(name)
    return versions


def parse_version(content: Mapping[str, Any]) -> ModelVersion:
    """One entry of the answer to ``GET /models/NAME``."""
    queue = content.get("jobQueueStatus") or {}
    queued = int(queue.get("pendingRequests", 0))
    return ModelVersion(
        model=content["modelName"],
        version=content["modelVersion"],
        archive=content["modelUrl"],
        workers=tuple(
            ListedWorker(str(worker["id"]), worker["status"], int(worker["pid"]), str(worker.get("startTime", "")))
            for worker in content["workers"]
        ),
        batch_size=int(content.get("batchSize", 1)),
        batch_delay_s=int(content.get("maxBatchDelay", 0)) / 1000,
        queued=queued,
        queue_capacity=queued + int(queue.get("remainingCapacity", 0)),
        startup_timeout_s=int(content.get("startupTimeout", STARTUP_TIMEOUT_S)),
        response_timeout_s=int(content.get("responseTimeout", RESPONSE_TIMEOUT_S)),
        description=_parse_description(content.get("customizedMetadata")),
        reported=content,
    )


def version_key(version: str) -> tuple[int, ...]:
    """Orders versions as numbers: 1.10 comes after 1.9."""
    return tuple(int(part) if part.isdecimal() else -1 for part in version.split("."))


def _parse_description(content: object) -> Mapping[str, Any] | None:
    if isinstance(content, str):
        try:
            content = json.loads(content)
        except ValueError:
            return None
    return content if isinstance(content, dict) else None
