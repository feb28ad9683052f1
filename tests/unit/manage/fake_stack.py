"""A running stack in memory: TorchServe's versions and workers, its log, and the web service's view of the default."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, cast

from marserve.client.errors import Refused, ServerFailed
from marserve.client.inference import Classification, InferenceClient, Prediction
from marserve.client.management import ManagementClient
from marserve.errors import MarserveError
from marserve.manage.running_stack import RunningStack
from marserve.stack.deployments import DeployedModel, Deployments
from marserve.stack.model_store import DeploymentStore
from marserve.stack.ports import Ports
from marserve.stack.run_directory import RunDirectory, State
from marserve.system.processes import ProcessRecord
from marserve.torchserve.models import ModelVersion
from tests.unit.manage.listed import a_version
from tests.unit.torchserve.test_log_lines import torchserve_line

MODEL = "resnet18"
#: A process id that no system gives.
NOBODY = 2**30


@dataclass
class FakeVersion:
    """One version: its archive, its workers by id, and whether new ones can start."""

    archive: str
    workers: list[int] = field(default_factory=list)
    can_start: bool = True
    #: The most probable class of every picture.
    answer: int = 0


@dataclass
class Fault:
    """Raised by the call ``number`` (from 0) of all; ``late``: once the call has done its work."""

    number: int
    error: BaseException
    late: bool = False
    #: Every call after it fails as well.
    for_good: bool = False


class FakeTorchServe:
    """Its management API as ManagementClient has it; all calls, those of pictures and of the web service included."""

    def __init__(self, logs: Path) -> None:
        self.versions = {"1.0": FakeVersion("resnet18.mar", [9000, 9001])}
        self.default = "1.0"
        #: What an archive that is registered will be.
        self.registered = FakeVersion("")
        #: Requests in the queue of each version.
        self.queued: dict[str, int] = {}
        #: Named with the version and number of workers where there are any.
        self.calls: list[str] = []
        self.fault: Fault | None = None
        self._logs = logs
        self._next_worker = 9100

    def call(self, name: str, work: Callable[[], Any] = lambda: None) -> Any:
        """Do ``work`` unless it is this call that fails."""
        fault, number = self.fault, len(self.calls)
        self.calls.append(name)
        fails = fault is not None and (number == fault.number or (fault.for_good and number > fault.number))
        if fault is not None and fails and not fault.late:
            raise fault.error
        result = work()
        if fault is not None and fails:
            raise fault.error
        return result

    def __enter__(self) -> FakeTorchServe:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def list_models(self) -> list[str]:
        return cast("list[str]", self.call("list_models", lambda: [MODEL]))

    def describe(self, _model: str, version: str | None = None) -> ModelVersion:
        return cast("ModelVersion", self.call("describe", lambda: self._describe(version or self.default)))

    def describe_all(self, _model: str | None = None) -> list[ModelVersion]:
        return cast("list[ModelVersion]", self.call("describe", lambda: [*map(self._describe, self.versions)]))

    def register(self, archive: str, *, model: str) -> str:
        version = archive.removeprefix(f"{model}-").rpartition("-")[0]
        self.registered.archive = archive
        return cast("str", self.call(f"register {version}", lambda: self.versions.update({version: self.registered})))

    def unregister(self, _model: str, version: str) -> None:
        def remove() -> None:
            if version == self.default:
                raise Refused("Cannot remove default version", status=403)
            del self.versions[version]

        self.call(f"unregister {version}", remove)

    def scale(self, _model: str, workers: int, version: str, *, synchronous: bool) -> None:
        assert not synchronous
        self.call(f"scale {version} to {workers}", lambda: self._scale(version, workers))

    def set_default(self, _model: str, version: str) -> None:
        def switch() -> None:
            assert version in self.versions
            self.default = version

        self.call(f"set_default {version}", switch)

    def wait_until_ready(self, _model: str, version: str, *, workers: int, deadline_s: float) -> None:  # noqa: ARG002
        self.call("describe")

    def _describe(self, version: str) -> ModelVersion:
        found = self.versions.get(version)
        if found is None:
            raise Refused(f"There is no {version}", status=404)
        pids = tuple(NOBODY for _ in found.workers)
        listed = a_version(version, pids, queued=self.queued.get(version, 0), ids=found.workers, archive=found.archive)
        return replace(listed, is_default=version == self.default)

    def _scale(self, version: str, workers: int) -> None:
        found = self.versions[version]
        while len(found.workers) > workers:
            found.workers.pop()
        while len(found.workers) < workers and found.can_start:
            found.workers.append(self._next_worker)
            self._next_worker += 1
        if not found.can_start and workers:
            thread = f"W-{self._next_worker}-{MODEL}_{version}"
            at = datetime.now(timezone.utc)
            lines = [
                torchserve_line("Traceback (most recent call last):", at=at, thread=f"{thread}-stdout"),
                torchserve_line("ConfigurationError: handler.x = 1:", at=at, thread=f"{thread}-stdout"),
                torchserve_line("  give 2", at=at, thread=f"{thread}-stdout"),
                torchserve_line(f"Load model failed: {MODEL}", at=at, thread=thread),
            ]
            with (self._logs / "ts_log.log").open("a", encoding="utf-8") as log:
                log.writelines(f"{line}\n" for line in lines)


@dataclass(frozen=True)
class FakeInference:
    """Answers pictures with one version."""

    torchserve: FakeTorchServe
    version: str

    def __enter__(self) -> FakeInference:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def classify_many(
        self, pictures: Sequence[Path], *, top_k: int, parallel: int
    ) -> Iterator[tuple[Path, Classification | ServerFailed]]:
        assert top_k, parallel

        def answer() -> Classification | ServerFailed:
            served = self.torchserve.versions[self.version]
            if not served.workers:
                return ServerFailed("nobody answers", status=500)
            return Classification(MODEL, self.version, None, (Prediction(served.answer, None, "x", 1.0),))

        answered = self.torchserve.call(f"classify {self.version}", answer)
        return iter([(picture, answered) for picture in pictures])


def begin_store(store: DeploymentStore, content: str = "version 1.0") -> None:
    """Have ``serve`` begun with version 1.0."""
    source = store.path.parent / "built.mar"
    source.write_text(content)
    store.write(Deployments({}, {MODEL: DeployedModel(store.add(source, MODEL, "1.0"))}))


@dataclass(frozen=True)
class FakeStack(RunningStack):
    """Takes archives while it runs."""

    torchserve: FakeTorchServe

    @classmethod
    def made_in(cls, directory: Path) -> FakeStack:
        """With two workers of version 1.0, whose archive and record are in the store."""
        run_directory = RunDirectory(5000, directory)
        run_directory.prepare()
        begin_store(DeploymentStore(run_directory))
        state = State(Ports(), "tmp", ProcessRecord("serve", 1, 0.0))
        return cls(run_directory, state, FakeTorchServe(run_directory.logs))

    @property
    def allows_registration(self) -> bool:
        return True

    def management(self) -> ManagementClient:
        return cast("ManagementClient", self.torchserve)

    def inference(self, _model: str, version: str) -> InferenceClient:
        return cast("InferenceClient", FakeInference(self.torchserve, version))

    def wait_until_ready(self, _model: str, version: str) -> None:
        """In place of asking the web service."""

        def check() -> None:
            if not self.torchserve.versions[version].workers:
                raise MarserveError("The web service has had no answer.")

        self.torchserve.call(f"web ready {version}", check)

    def wait_until_default(self, _model: str, version: str) -> None:
        """In place of asking the web service."""

        def check() -> None:
            if self.torchserve.default != version:
                raise MarserveError("The web service still sends pictures to another version.")

        self.torchserve.call(f"web default {version}", check)

    @property
    def snapshot(self) -> tuple[str, dict[str, int], dict[str, bytes]]:
        """The default version, the number of workers of each, and the content of the store, its record included."""
        workers = {name: len(version.workers) for name, version in self.torchserve.versions.items()}
        store = self.run_directory.model_store
        assert store.stat().st_mode & 0o777 == 0o500
        return self.torchserve.default, workers, {file.name: file.read_bytes() for file in store.iterdir()}
