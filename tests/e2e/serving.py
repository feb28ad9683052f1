"""Real stacks for tests: started and stopped by the scripts, on free ports of their own."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from _pytest.capture import CaptureManager

from marserve.client.errors import ClientError
from marserve.client.management import ManagementClient
from marserve.stack.ports import Ports
from marserve.stack.run_directory import RunDirectory, State, remove_tree
from marserve.system.loopback import LOOPBACK, is_free
from marserve.system.processes import running
from marserve.system.waiting import wait_until
from marserve.torchserve.key_file import Kind, valid_token
from marserve.torchserve.models import ModelVersion
from marserve.variables import variable
from tests.support import CAT, REPOSITORY

#: Seconds for the whole of a start, archives included, and for one answer, on a slow machine.
START_S = 240
ANSWER_S = 60
#: Seconds for what takes TorchServe longest: giving up a worker, or having it back.
PATIENCE_S = 60.0
#: Ports that no system gives to a connection: until a service listens, nobody else takes its port.
QUIET_PORTS = (10_000, 32_000)
#: The two models that most tests ask: ResNet18 with seeded weights and EfficientNet-Lite0 with ImageNet's, in f32.
SERVE = ("--weights", "untrained", "--precision", "f32")


@dataclass(frozen=True)
class Stack:
    """One stack by its ports, whether it runs or not."""

    ports: Ports
    #: For commands that are to find it.
    environment: dict[str, str]
    #: What its start printed.
    announcement: str = ""

    @property
    def run_directory(self) -> RunDirectory:
        return RunDirectory(self.ports.web_port)

    @property
    def web(self) -> str:
        return f"http://{LOOPBACK}:{self.ports.web_port}"

    @property
    def inference(self) -> str:
        return f"http://{LOOPBACK}:{self.ports.inference_port}"

    @property
    def management(self) -> str:
        return f"http://{LOOPBACK}:{self.ports.management_port}"

    @property
    def metrics(self) -> str:
        return f"http://{LOOPBACK}:{self.ports.metrics_port}/metrics"

    def run(self, script: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a script of the project for this stack to its end."""
        return run([str(REPOSITORY / "scripts" / script), *arguments], self.environment | variables)

    def started(self, *arguments: str, **variables: str) -> Stack:
        """This stack, once it is served in the background."""
        started = self.run("serve", "--detach", *arguments, **variables)
        assert started.returncode == 0, f"{started.stdout}\n{started.stderr}\n{self.logs()}"
        return replace(self, announcement=started.stdout)

    def end(self) -> None:
        """Stop it, where it runs, and remove what it leaves."""
        stopped = self.run("stop")
        remove_tree(self.run_directory.path)
        assert stopped.returncode == 0, stopped.stderr

    def authorization(self, kind: Kind = "inference") -> dict[str, str]:
        """The header with such a token."""
        return {"Authorization": f"Bearer {self.token(kind)}"}

    def token(self, kind: Kind) -> str:
        """A token that is valid now."""
        return valid_token(self.run_directory.key_file, self.ports.management_port, kind).key

    def predict(
        self,
        model: str = "resnet18",
        *,
        headers: Mapping[str, str] | None = None,
        method: str = "POST",
        endpoint: str = "predictions",
        **request: Any,
    ) -> requests.Response:
        """One request to TorchServe; the example picture as the body where ``request`` has no content."""
        if not request:
            request = {"data": CAT.read_bytes()}
        return requests.request(
            method,
            f"{self.inference}/{endpoint}/{model}",
            headers={**self.authorization(), **(headers or {})},
            timeout=ANSWER_S,
            **request,
        )

    def state(self) -> State:
        state = State.read(self.run_directory.state)
        assert state is not None
        return state

    def described(self, model: str) -> ModelVersion:
        """The default version of ``model``, as TorchServe lists it now."""
        with ManagementClient(self.management, key_file=self.run_directory.key_file) as management:
            return management.describe(model)

    def worker_pids(self, model: str) -> list[int]:
        """Processes of the model's workers, as TorchServe names them."""
        return [worker.pid for worker in self.described(model).workers]

    def readiness(self) -> int:
        """The status of ``/readyz``."""
        return requests.get(f"{self.web}/readyz", timeout=ANSWER_S).status_code

    def process(self, name: str) -> psutil.Process:
        """The process of a service by its name in the state file."""
        return next(psutil.Process(process.pid) for process in self.state().processes if process.name == name)

    def processes(self) -> list[psutil.Process]:
        """Everything that belongs to the running stack, workers included."""
        services = [psutil.Process(process.pid) for process in self.state().processes]
        return services + [child for service in services for child in service.children(recursive=True)]

    def logs(self) -> str:
        """All logs of this start, for a person."""
        files = sorted(self.run_directory.logs.glob("*.log"))
        return "\n".join(f"--- {file.name}\n{file.read_text(encoding='utf-8', errors='replace')}" for file in files)


def quiet_ports(count: int) -> list[int]:
    """Different ports that nobody uses at this moment, and that no connection is given."""
    return list(itertools.islice(filter(is_free, random.sample(range(*QUIET_PORTS), 1000)), count))


def stack_on_free_ports() -> Stack:
    """A stack that does not run yet."""
    names = list(asdict(Ports()))
    ports = dict(zip(names, quiet_ports(len(names)), strict=True))
    return Stack(Ports(**ports), os.environ | {variable(name): str(port) for name, port in ports.items()})


class SharedStack:
    """A stack that several tests share: each finds it as it was started, whatever the one before it did."""

    def __init__(self, *arguments: str, **variables: str) -> None:
        self._arguments = arguments
        self._variables = variables
        self._started: Stack | None = None
        self._serves: dict[str, tuple[str, int]] = {}
        self.stack = stack_on_free_ports()

    def as_started(self) -> Stack:
        """The stack, started again where it does not come back by itself."""
        if self._started is None or not self._comes_back():
            self.stack.run("stop")
            # What an earlier test deployed would last.
            self._started = self.stack.started("--discard-deployed", *self._arguments, **self._variables)
            self._serves = self._what_it_serves()
        return self._started

    def _comes_back(self) -> bool:
        state = State.read(self.stack.run_directory.state)
        if state is None or not all(map(running, state.processes)):
            return False
        versions = {model: version for model, (version, _) in self._serves.items()}
        return wait_until(
            lambda: self._what_it_serves() == self._serves and self.stack.readiness() == requests.codes.ok,
            PATIENCE_S,
            while_alive=lambda: {name: version for name, (version, _) in self._what_it_serves().items()} == versions,
        )

    def _what_it_serves(self) -> dict[str, tuple[str, int]]:
        """The default version of each model and its ready workers; nothing where TorchServe does not say."""
        try:
            found = [self.stack.described(model.name) for model in self.stack.state().models]
        except ClientError:
            return {}
        return {described.model: (described.version, described.ready_workers) for described in found}


@contextmanager
def shared_stack(request: pytest.FixtureRequest, *arguments: str, **variables: str) -> Iterator[SharedStack]:
    """A stack for the scope of a fixture, which starts with the first test; its logs are shown where a test failed."""
    shared = SharedStack(*arguments, **variables)
    failed_before = request.session.testsfailed
    try:
        yield shared
    finally:
        capture = request.config.pluginmanager.getplugin("capturemanager")
        if request.session.testsfailed > failed_before and isinstance(capture, CaptureManager):
            with capture.global_and_fixture_disabled():
                print(shared.stack.logs())
        shared.stack.end()


def wait_for(condition: Callable[[], object], within_s: float = PATIENCE_S) -> None:
    """Return when ``condition`` holds, which must come in time."""
    assert wait_until(condition, within_s), f"it did not come about within {within_s} s"


def run(command: list[str], environment: Mapping[str, str], cwd: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    """Run ``command`` to its end, which must come in time."""
    return subprocess.run(
        command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=START_S, check=False
    )
