"""What ``marserve status`` shows, read: the record, the processes, and what both services say of themselves."""

from __future__ import annotations

import json
import time
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from prometheus_client.samples import Sample

from marserve.autoscale.observation import web_counters, web_waiting
from marserve.client.management import ManagementClient
from marserve.errors import MarserveError
from marserve.handler.resnet18.description import DESCRIPTION_FILE
from marserve.manage.running_stack import RunningStack
from marserve.manage.settling import is_interrupted, under_way
from marserve.manage.status import Status, VersionStatus
from marserve.paths import command
from marserve.stack.deployments import Deployments
from marserve.stack.restarts import Restarts
from marserve.system.loopback import LocalReply, request
from marserve.torchserve.metrics import Rates, rates, read_samples
from marserve.torchserve.models import ModelVersion
from marserve.torchserve.worker_process import inspect_workers
from marserve.web.models import Weights, weights_of
from marserve.web.quarantine import read_suspicions


@dataclass(frozen=True)
class StackMetrics:
    """All samples of both services at one time; those of one that did not answer are missing."""

    time: float = field(default_factory=time.monotonic)
    torchserve: Sequence[Sample] = ()
    web: Sequence[Sample] = ()


def sample_metrics(stack: RunningStack) -> StackMetrics:
    """Read both. The web service's need an API key where it has any, and are left out then."""
    return StackMetrics(
        torchserve=_samples(request("GET", stack.state.ports.metrics_port, "/metrics")),
        web=_samples(stack.request_web("/metrics")),
    )


def web_rates(before: StackMetrics, after: StackMetrics) -> dict[str, float]:
    """Answers a second by status class, such as ``2xx``, of the routes that classify."""
    seconds, earlier = after.time - before.time, _posted(before.web)
    if seconds <= 0:
        return {}
    return {status: max(count - earlier[status], 0.0) / seconds for status, count in _posted(after.web).items()}


def _samples(reply: LocalReply | None) -> list[Sample]:
    return [] if reply is None or reply.status != 200 else read_samples(reply.body.decode(errors="replace"))


def _posted(samples: Sequence[Sample]) -> Counter[str]:
    """The sums of answers to posted pictures by status class."""
    found: Counter[str] = Counter()
    for sample in samples:
        if sample.name == "web_requests_total" and sample.labels.get("method") == "POST":
            found[f"{sample.labels.get('status', '?')[:1]}xx"] += sample.value  # type: ignore[assignment]
    return found


def read_status(stack: RunningStack, management: ManagementClient, before: StackMetrics, after: StackMetrics) -> Status:
    """The present state, and what happened between two samples of the metrics."""
    record, problem = _record(stack)
    pending = record.pending
    listed, torchserve_reason = [], ""
    try:
        listed = management.describe_all()
    except MarserveError as exc:
        torchserve_reason = str(exc)
    return Status(
        web_port=stack.state.ports.web_port,
        takes_archives=stack.allows_registration,
        web_reasons=_web_reasons(stack),
        web_rates=web_rates(before, after),
        versions=[_version_status(stack, version, before, after) for version in listed],
        rollback={name: model.before.version for name, model in record.models.items() if model.before is not None},
        under_way=under_way(stack) if pending is not None and problem is None else None,
        record_problem=problem,
        is_watched=stack.is_watched,
        restarts=Restarts.read(stack.run_directory.supervision),
        missing=stack.missing,
        torchserve_reason=torchserve_reason,
    )


def _record(stack: RunningStack) -> tuple[Deployments, str | None]:
    """What is deployed by the record, and what is wrong with that."""
    try:
        record = stack.store.read() or Deployments({})
        if is_interrupted(stack):
            return record, f"The {record.pending} was interrupted: {command('recover')} settles it"
    except MarserveError as exc:
        return Deployments({}), str(exc)
    return record, None


def _version_status(
    stack: RunningStack, listed: ModelVersion, before: StackMetrics, after: StackMetrics
) -> VersionStatus:
    weights, digest = _described(stack.run_directory.model_store / Path(listed.archive).name)
    proven = [one for one in read_suspicions(stack.run_directory.quarantine) if one.is_proven]
    return VersionStatus(
        model=listed.model,
        version=listed.version,
        is_default=listed.is_default,
        archive=listed.archive,
        weights=weights,
        workers=inspect_workers(listed, stack.run_directory.logs),
        queued=listed.queued,
        queue_capacity=listed.queue_capacity,
        rates=version_rates(before, after, listed.model, listed.version, is_default=listed.is_default),
        waiting=web_waiting(after.web, listed.model, listed.version),
        quarantined=sum((one.model, one.archive) == (listed.model, digest or listed.archive) for one in proven),
    )


def version_rates(before: StackMetrics, after: StackMetrics, model: str, version: str, *, is_default: bool) -> Rates:
    """Of one version; the wait is that in both services."""
    seconds = after.time - before.time
    found = rates(before.torchserve, after.torchserve, seconds, model, version, is_default=is_default)
    sent = web_counters(after.web, model).since(web_counters(before.web, model))
    if not sent.sent:
        return found
    return replace(found, queue_ms=(found.queue_ms or 0.0) + 1000 * sent.waited_s / sent.sent)


def _web_reasons(stack: RunningStack) -> list[str]:
    reply = stack.request_web("/readyz")
    if reply is None:
        return ["it does not answer."]
    try:
        reasons = json.loads(reply.body)["reasons"]
    except (ValueError, KeyError, TypeError):
        return [f"it answers with status {reply.status}."]
    return [str(reason) for reason in reasons]


def _described(archive: Path) -> tuple[Weights, str | None]:
    """What the description in ``archive`` says of its weights, and its digest; reading it there takes no place in the
    model's queue.
    """
    try:
        with zipfile.ZipFile(archive) as mar:
            description = json.loads(mar.read(DESCRIPTION_FILE))
        return weights_of(description["architecture"], description["weights"]["trained"]), description.get(
            "inputs_sha256"
        )
    except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError):
        return "unknown", None
