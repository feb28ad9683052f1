"""``manage.py status``: everything about a stack at one moment."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from marserve.client.management import ManagementClient
from marserve.manage.metrics import Look, Rates, rates, web_rates
from marserve.manage.running_stack import RunningStack
from marserve.manage.workers import WorkerReport, inspect_workers
from marserve.torchserve.models import ModelVersion


@dataclass(frozen=True)
class VersionStatus:
    """One version of one model."""

    model: str
    version: str
    is_default: bool
    archive: str
    workers: Sequence[WorkerReport]
    queued: int
    queue_capacity: int
    rates: Rates

    @property
    def problems(self) -> list[str]:
        """What somebody should look at."""
        name = f"{self.model} {self.version}"
        dead = [worker.id for worker in self.workers if worker.state == "dead"]
        found = []
        if dead:
            found.append(
                f"{name}: TorchServe lists worker {', '.join(dead)}, which is dead and will not be restarted: run "
                "manage.py recover"
            )
        if self.is_default and not any(worker.state == "ready" for worker in self.workers):
            hint = "" if dead else "; manage.py logs --errors may tell why" if self.workers else ": scale it"
            found.append(f"{name} is the default and has no READY worker{hint}")
        if self.queue_capacity and self.queued * 2 > self.queue_capacity:
            found.append(f"{name}: {self.queued} of {self.queue_capacity} places in its queue are taken")
        return found


@dataclass(frozen=True)
class Status:
    """One stack."""

    web_port: int
    takes_archives: bool
    #: Why the web service is not ready; empty when it is.
    web_reasons: Sequence[str]
    #: Answers a second to posted pictures, by status class.
    web_rates: dict[str, float]
    versions: Sequence[VersionStatus]

    @property
    def problems(self) -> list[str]:
        """What somebody should look at; empty where all is well."""
        return [
            *(f"The web service is not ready: {reason}" for reason in self.web_reasons),
            *(problem for version in self.versions for problem in version.problems),
        ]

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {**asdict(self), "problems": self.problems}


def read_status(stack: RunningStack, management: ManagementClient, before: Look, after: Look) -> Status:
    """The present state, and what happened between two looks at the metrics."""
    listed = management.describe_all()
    return Status(
        web_port=stack.ports.web_port,
        takes_archives=stack.allows_registration,
        web_reasons=_web_reasons(stack),
        web_rates=web_rates(before, after),
        versions=[_version_status(stack, version, before, after) for version in listed],
    )


def _version_status(stack: RunningStack, listed: ModelVersion, before: Look, after: Look) -> VersionStatus:
    return VersionStatus(
        model=listed.model,
        version=listed.version,
        is_default=listed.is_default,
        archive=listed.archive,
        workers=inspect_workers(listed, stack.run_directory.logs),
        queued=listed.queued,
        queue_capacity=listed.queue_capacity,
        rates=rates(before, after, listed.model, listed.version, is_default=listed.is_default),
    )


def _web_reasons(stack: RunningStack) -> list[str]:
    reply = stack.request_web("/readyz")
    if reply is None:
        return ["it does not answer."]
    try:
        reasons = json.loads(reply.body)["reasons"]
    except (ValueError, KeyError, TypeError):
        return [f"it answers with status {reply.status}."]
    return [str(reason) for reason in reasons]
