"""What is deployed: the record of it, and what a start makes of that.

The record is the truth. A version is deployed, or rolled back to, at the moment when the record that says so has taken
the place of the one before. A change that ends before that never was; after it only clearing up is left.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from typing import Any

from marserve.stack.options import ARCHIVE_OPTIONS, Options, spelled

FORMAT = 1
#: Workers of the version that is kept for a rollback. One still answers what reached it before the switch, or names it.
KEPT_WORKERS = 1


@dataclass(frozen=True)
class DeployedVersion:
    version: str
    #: Its file in the store.
    archive: str
    sha256: str
    #: The file that it was copied from; while that is still the same, it replaces a damaged copy.
    source: str
    #: As many as ``scale`` or ``deploy --workers`` chose; None: as many as the options of ``serve`` say.
    workers: int | None = None
    #: Whether ``deploy`` brought it, and not ``serve``.
    by_deploy: bool = False
    #: When it became the default, in UTC.
    since: str = ""
    #: Workers that it had when it was the default, where it is kept for a rollback.
    had: int | None = None


@dataclass(frozen=True)
class DeployedModel:
    current: DeployedVersion
    #: What ``rollback`` brings back.
    before: DeployedVersion | None = None

    @property
    def was_deployed(self) -> bool:
        """Whether it is anything but what ``serve`` itself began with."""
        return self.before is not None or self.current.by_deploy

    @property
    def versions(self) -> list[DeployedVersion]:
        """Those that are served, the default one first."""
        return [self.current, *([self.before] if self.before is not None else [])]


@dataclass(frozen=True)
class PendingChange:
    """A change that is under way or, where nobody holds the stack's change lock, was interrupted."""

    command: str
    model: str
    #: The version that it is about, and its workers before; 0: it was not there.
    version: str
    workers: int
    #: Whether the record says already what the change is for.
    committed: bool = False
    #: Versions that nothing goes back to any more.
    removes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.command} of {self.model} {self.version}"


@dataclass(frozen=True)
class Deployments:
    """The record."""

    #: The options of ``serve`` that it began with: ``Options.base``.
    base: Mapping[str, Any]
    #: In the order of the options; the first answers where no model is named.
    models: Mapping[str, DeployedModel] = field(default_factory=dict)
    pending: PendingChange | None = None

    @property
    def was_deployed(self) -> bool:
        """Whether a start from the options of ``serve`` alone would serve something else."""
        return any(model.was_deployed for model in self.models.values())

    def with_model(self, name: str, model: DeployedModel) -> Deployments:
        return replace(self, models={**self.models, name: model})

    @classmethod
    def parse(cls, content: Mapping[str, Any]) -> Deployments:
        """Raises KeyError, TypeError or ValueError for what this version does not understand."""
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']}")
        models = {
            name: DeployedModel(
                DeployedVersion(**entry["current"]),
                None if entry["before"] is None else DeployedVersion(**entry["before"]),
            )
            for name, entry in content["models"].items()
        }
        pending = content["pending"]
        if pending is not None:
            pending = PendingChange(**{**pending, "removes": tuple(pending["removes"])})
        return cls(dict(content["base"]), models, pending)

    def as_json(self) -> str:
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=2)


def defaults(record: Deployments) -> dict[str, str]:
    """The archive that answers for each model."""
    return {name: model.current.archive for name, model in record.models.items()}


def switched(new: DeployedVersion, old: DeployedVersion, workers: int) -> DeployedModel:
    """``new`` is the default from now on, in place of ``old`` with its ``workers``, which is kept for a rollback."""
    return DeployedModel(replace(new, since=now(), had=None), replace(old, had=workers))


def settled(record: Deployments) -> tuple[Deployments, str | None]:
    """``record`` where no process of its stack is left: without a pending change, and what became of that one."""
    pending = record.pending
    if pending is None:
        return record, None
    became = "was done; only clearing up was left" if pending.committed else "is undone"
    return replace(record, pending=None), f"The {pending} was interrupted, and {became}."


def now() -> str:
    """The time of day, for people, in UTC."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


@dataclass(frozen=True)
class Start:
    """What a start serves."""

    #: With those that ``deployed`` began from.
    options: Options
    #: What was deployed; None: what ``options`` say.
    deployed: Deployments | None = None
    #: The workers that ``scale`` left each model with, where nothing was deployed.
    workers: Mapping[str, int] = field(default_factory=dict)
    #: For a person: what is served, and what became of an interrupted change.
    lines: Sequence[str] = ()


def plan_start(options: Options, record: Deployments | None) -> Start:
    """What a start with ``options`` makes of ``record``: served again unless they say otherwise."""
    if record is None or options.discard_deployed:
        forgotten = record is not None and record.was_deployed
        return Start(
            options, lines=[f"Forgetting what was deployed: {describe(record)}."] if record and forgotten else ()
        )
    record, interrupted = settled(record)
    lines = [interrupted] if interrupted else []
    if not record.was_deployed:
        is_same = options.base() == record.base
        scaled = {name: one.current.workers for name, one in record.models.items() if one.current.workers and is_same}
        lines += [f"{name}: {workers} workers, as scale left it." for name, workers in scaled.items()]
        return Start(options, workers=scaled, lines=lines)
    if (replaced := replaced_by(options, record)) is not None:
        return Start(options, lines=[*lines, replaced])
    if options.workers is not None and options.workers != record.base.get("workers"):
        models = {
            name: replace(model, current=replace(model.current, workers=None)) for name, model in record.models.items()
        }
        record = replace(record, base={**record.base, "workers": options.workers}, models=models)
    lines.append(f"Serving what was deployed: {describe(record)}. --discard-deployed serves what the options say.")
    return Start(options.on(record.base), record, lines=lines)


def replaced_by(options: Options, record: Deployments) -> str | None:
    """What starting with ``options`` takes the place of, as a sentence; None where it is served again."""
    given = {name: value for name, value in options.base().items() if name in ARCHIVE_OPTIONS}
    was = {name: value for name, value in record.base.items() if name in ARCHIVE_OPTIONS}
    if not record.was_deployed or not given or given == was:
        return None
    return (
        f"Replacing what was deployed, {describe(record)}: these options are others than those that it began from, "
        f"serve {_as_typed(was) or 'without any'}."
    )


def describe(record: Deployments) -> str:
    """Such as ``resnet18 2.0, since 2026-11-26 15:04:05 UTC (rollback brings back 1.0)``."""
    return " and ".join(
        f"{name} {model.current.version}"
        + (f", since {model.current.since}" if model.current.since else "")
        + (f" (rollback brings back {model.before.version})" if model.before else "")
        for name, model in record.models.items()
    )


def _as_typed(base: Mapping[str, Any]) -> str:
    words = ((spelled(name), value if isinstance(value, list) else [value]) for name, value in base.items())
    return shlex.join(str(word) for name, values in words for word in (name, *values))
