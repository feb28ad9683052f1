"""The stack to operate, found by its web port through what ``serve`` wrote down."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from marserve.client.inference import InferenceClient
from marserve.client.management import ManagementClient
from marserve.errors import MarserveError
from marserve.paths import command
from marserve.stack.model_store import DeploymentStore
from marserve.stack.run_directory import NotRunningError, RestartingError, RunDirectory, State
from marserve.system import processes
from marserve.system.loopback import LOOPBACK, LocalReply, reachable_address, request
from marserve.system.waiting import wait_until
from marserve.torchserve import properties

#: Seconds for the web service to notice a change: it samples TorchServe once a second, and then names the version.
NOTICE_S = 20.0
#: Seconds to wait where it does not say, since it requires API keys: several of its samples.
BLIND_S = 5.0
POLL_S = 0.2


@dataclass(frozen=True)
class RunningStack:
    """A stack whose processes are there, or about to be."""

    run_directory: RunDirectory
    state: State

    @classmethod
    def find(cls, web_port: int, *, complete: bool = True) -> RunningStack:
        """The stack of ``web_port``. Raises MarserveError, with what to do, where none runs.

        ``complete``: nor where part of it is being started.
        """
        run_directory = RunDirectory(web_port)
        state = State.read(run_directory.state)
        if state is None:
            raise NotRunningError(web_port)
        stack = cls(run_directory, state)
        if complete and stack.missing:
            raise RestartingError(web_port, stack.missing) if stack.is_watched else NotRunningError(web_port)
        if len(stack.missing) == len(state.processes) and not stack.is_watched:
            raise NotRunningError(web_port)
        return stack

    @property
    def missing(self) -> list[str]:
        """The services whose processes have ended."""
        return [process.name for process in self.state.processes if processes.running(process) is None]

    @property
    def is_watched(self) -> bool:
        """Whether what ends is started again."""
        supervisor = processes.running(self.state.serve)
        return supervisor is not None and not processes.is_stopped(supervisor)

    def management(self) -> ManagementClient:
        return ManagementClient(self._management_url, key_file=self.run_directory.key_file)

    def inference(self, model: str, version: str) -> InferenceClient:
        """One version of one model, without the web service."""
        return InferenceClient.for_torchserve(
            f"http://{LOOPBACK}:{self.state.ports.inference_port}",
            model,
            version,
            key_file=self.run_directory.key_file,
            management_url=self._management_url,
        )

    @property
    def _management_url(self) -> str:
        return f"http://{LOOPBACK}:{self.state.ports.management_port}"

    @property
    def allows_registration(self) -> bool:
        """Whether it was started with ``--model-api``."""
        text = self.run_directory.config.read_text(encoding="ascii")
        return properties.parse(text).get("enable_model_api") == "true"

    @property
    def store(self) -> DeploymentStore:
        """Its archives, and the record of what is deployed."""
        return DeploymentStore(self.run_directory)

    def request_web(self, path: str) -> LocalReply | None:
        """The web service's reply; None where it does not answer."""
        host, certificate = reachable_address(self.state.host), self.run_directory.certificate_of(self.state)
        return request("GET", self.state.ports.web_port, path, host=host, certificate=certificate)

    def wait_until_ready(self, model: str, version: str) -> None:
        """Return when the web service has had an answer of ``version``, so that making it the default leaves no gap.

        Raises MarserveError when it has none in time.
        """
        path = f"/v2/models/{model}/versions/{version}/ready"
        self._wait_for_web(path, lambda _: True, f"has had no answer of {model} {version}")

    def wait_until_default(self, model: str, version: str) -> None:
        """Return when new requests for ``model`` go to ``version``. Raises MarserveError when they do not in time."""

        def is_default(body: bytes) -> bool:
            return (model, version) in {(one["name"], one["version"]) for one in json.loads(body)["models"]}

        self._wait_for_web("/models", is_default, f"still sends pictures for {model} to another version than {version}")

    def _wait_for_web(self, path: str, accept: Callable[[bytes], bool], otherwise: str) -> None:
        def noticed() -> bool:
            reply = self.request_web(path)
            if reply is not None and reply.status == 401:
                time.sleep(BLIND_S)
                return True
            return reply is not None and reply.status == 200 and accept(reply.body)

        if not wait_until(noticed, NOTICE_S, poll_s=POLL_S):
            raise MarserveError(f"After {NOTICE_S:.0f} s the web service {otherwise}; see {command('logs')}.")
