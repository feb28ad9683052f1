"""The versions of a model as TorchServe lists them now, with which one is the default and what waits for each."""

from __future__ import annotations

from dataclasses import dataclass

from marserve.client.errors import Refused
from marserve.client.management import ManagementClient
from marserve.errors import MarserveError
from marserve.torchserve.models import ModelVersion, Worker


@dataclass(frozen=True)
class ListedVersion:
    """One version of a model."""

    reported: ModelVersion
    is_default: bool

    @property
    def model(self) -> str:
        """The model's name."""
        return self.reported.name

    @property
    def version(self) -> str:
        """Its own name."""
        return self.reported.version

    @property
    def archive(self) -> str:
        """The file it was loaded from."""
        return self.reported.url

    @property
    def workers(self) -> tuple[Worker, ...]:
        """In the order of their start; scaling down takes from the end. The list is no proof that they live."""
        return self.reported.workers

    @property
    def queued(self) -> int:
        """Requests that wait for a worker."""
        return int(self._queue("pendingRequests"))

    @property
    def queue_capacity(self) -> int:
        """Requests that may wait."""
        return self.queued + int(self._queue("remainingCapacity"))

    @property
    def startup_timeout_s(self) -> int:
        """Seconds after which TorchServe itself gives up a worker that is starting."""
        return int(self.reported.reported.get("startupTimeout", 120))

    def __str__(self) -> str:
        """Such as ``resnet18 1.0``."""
        return f"{self.model} {self.version}"

    def _queue(self, key: str) -> int:
        status = self.reported.reported.get("jobQueueStatus") or {}
        return int(status.get(key, 0))


def list_versions(management: ManagementClient, model: str) -> list[ListedVersion]:
    """All versions of ``model``, in the order of their numbers. Raises MarserveError where there is no such model."""
    try:
        reported = management.describe_all(model)
        default = management.describe(model).version  # only this tells which one it is
    except Refused as exc:
        if exc.status != 404:
            raise
        names = ", ".join(sorted(management.list_models()))
        raise MarserveError(f"There is no model {model}; there are: {names}.") from exc
    listed = [ListedVersion(version, version.version == default) for version in reported]
    return sorted(listed, key=lambda version: version_key(version.version))


def find_version(management: ManagementClient, model: str, version: str | None = None) -> ListedVersion:
    """``version`` of ``model``, the default one for None. Raises MarserveError where there is none."""
    versions = list_versions(management, model)
    for listed in versions:
        if listed.is_default if version is None else listed.version == version:
            return listed
    names = ", ".join(listed.version for listed in versions)
    raise MarserveError(f"{model} has no version {version}; there are: {names}.")


def version_key(version: str) -> tuple[int, ...]:
    """Orders versions as numbers: 1.10 comes after 1.9."""
    return tuple(int(part) if part.isdecimal() else -1 for part in version.split("."))
