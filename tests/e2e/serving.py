"""Real stacks for tests: started and stopped by the scripts, on free ports of their own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import requests

from marserve.client.management import ManagementClient
from marserve.stack.ports import Ports
from marserve.stack.run_directory import RunDirectory
from marserve.stack.state import State
from marserve.system.ports import LOOPBACK, free_ports
from marserve.torchserve.key_file import KeyFile, Kind
from marserve.torchserve.models import ModelVersion
from marserve.variables import variable
from tests.support import CAT, REPOSITORY

#: Seconds for the whole of a start, archives included, and for one answer, on a slow machine.
START_S = 240
ANSWER_S = 60


@dataclass(frozen=True)
class Stack:
    """One stack by its ports, whether it runs or not."""

    ports: Ports
    #: For commands that are to find it.
    environment: dict[str, str]

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

    def authorization(self, kind: Kind = "inference") -> dict[str, str]:
        """The header with such a token."""
        return {"Authorization": f"Bearer {self.token(kind)}"}

    def token(self, kind: Kind) -> str:
        """A token that is valid now."""
        return KeyFile(self.run_directory.key_file, self.ports.management_port).token(kind).key

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

    def processes(self) -> list[psutil.Process]:
        """Everything that belongs to the running stack, workers included."""
        services = [psutil.Process(process.pid) for process in self.state().processes]
        return services + [child for service in services for child in service.children(recursive=True)]

    def logs(self) -> str:
        """All logs of this start, for a person."""
        files = sorted(self.run_directory.logs.glob("*.log"))
        return "\n".join(f"--- {file.name}\n{file.read_text(encoding='utf-8', errors='replace')}" for file in files)


def stack_on_free_ports() -> Stack:
    """A stack that does not run yet."""
    names = list(asdict(Ports()))
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    return Stack(Ports(**ports), os.environ | {variable(name): str(port) for name, port in ports.items()})


def run(command: list[str], environment: Mapping[str, str], cwd: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    """Run ``command`` to its end, which must come in time."""
    return subprocess.run(
        command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=START_S, check=False
    )
