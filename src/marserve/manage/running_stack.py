"""The stack to operate, found by its web port through what ``serve`` wrote down."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from marserve.client.inference import InferenceClient
from marserve.client.management import ManagementClient
from marserve.errors import MarserveError
from marserve.stack import processes
from marserve.stack.ports import Ports
from marserve.stack.run_directory import RunDirectory
from marserve.stack.state import State
from marserve.system.locks import locked
from marserve.system.ports import LOOPBACK
from marserve.terminal import complain
from marserve.torchserve import properties

#: Seconds to wait for another command that is changing the same stack.
LOCK_S = 600.0


@dataclass(frozen=True)
class RunningStack:
    """A stack whose processes are there."""

    run_directory: RunDirectory
    state: State

    @classmethod
    def find(cls, web_port: int) -> RunningStack:
        """The stack of ``web_port``. Raises MarserveError, with what to do, where none runs."""
        run_directory = RunDirectory(web_port)
        state = State.read(run_directory.state)
        if state is None or not all(processes.running(process) for process in state.processes):
            raise MarserveError(
                f"Nothing is running on web port {web_port}: start it with ./scripts/serve, or name another stack "
                "with --port."
            )
        return cls(run_directory, state)

    @property
    def ports(self) -> Ports:
        """Where its servers listen."""
        return self.state.ports

    def management(self) -> ManagementClient:
        """Its management API."""
        return ManagementClient(self._management_url, key_file=self.run_directory.key_file)

    def inference(self, model: str, version: str) -> InferenceClient:
        """One version of one model, asked without the web service."""
        return InferenceClient.for_torchserve(
            f"http://{LOOPBACK}:{self.ports.inference_port}",
            model,
            version,
            key_file=self.run_directory.key_file,
            management_url=self._management_url,
        )

    @property
    def _management_url(self) -> str:
        return f"http://{LOOPBACK}:{self.ports.management_port}"

    @property
    def allows_registration(self) -> bool:
        """Whether it was started with ``--model-api``."""
        text = self.run_directory.config.read_text(encoding="ascii")
        return properties.parse(text).get("enable_model_api") == "true"

    @contextmanager
    def being_changed(self) -> Iterator[None]:
        """Keep other commands from changing it at the same time."""
        lock = self.run_directory.change_lock
        with locked(lock, on_wait=lambda: complain("Waiting for another manage.py to finish ..."), timeout_s=LOCK_S):
            yield
