"""Whether TorchServe does its work, by what its own APIs answer: a process that is there proves nothing."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil

from marserve.paths import EXAMPLE_PICTURE
from marserve.stack.ports import Ports
from marserve.system.loopback import LocalReply, request
from marserve.torchserve.key_file import Kind, read_keys
from marserve.torchserve.models import MALFORMED, STARTUP_TIMEOUT_S, ModelVersion, model_path, parse_version
from marserve.torchserve.worker_process import age_s, cpu_seconds, find_worker

#: Seconds for the first prediction of a model.
PREDICTION_S = 30.0
#: Seconds for an answer of the management API, and for a prediction, by which a hang is noticed.
MANAGEMENT_CHECK_S = 3.0
PREDICTION_CHECK_S = 10.0
#: Of one core, what all workers of a model use at most while they compute nothing.
IDLE_SHARE = 0.01


class TorchServeAnswers:
    """One TorchServe, seen from outside."""

    def __init__(self, ports: Ports, key_file: Path, temp: Path) -> None:
        self._ports = ports
        self._key_file = key_file
        self._temp = temp

    def describe(self, model: str) -> ModelVersion | None:
        """The default version of ``model``; None where TorchServe does not say."""
        reply = self._request("GET", "management", self._ports.management_port, model_path(model))
        if reply is None or reply.status != 200:
            return None
        try:
            return parse_version(json.loads(reply.body)[0])
        except MALFORMED:
            return None

    def predict(self, model: str, timeout_s: float = PREDICTION_S) -> LocalReply | None:
        """The answer of its default version to the example picture; None where there is none in time."""
        path, picture = f"/predictions/{model}", EXAMPLE_PICTURE.read_bytes()
        return self._request("POST", "inference", self._ports.inference_port, path, body=picture, timeout_s=timeout_s)

    def is_managed(self) -> bool:
        """Whether the management API answers, whatever it may be.

        While workers start, a caller that waits for them may hold all threads that answer.
        """
        reply = request("GET", self._ports.management_port, "/models?limit=1", timeout_s=MANAGEMENT_CHECK_S)
        return reply is not None or any(
            age_s(process) < STARTUP_TIMEOUT_S
            for process in using_temp(str(self._temp))
            if find_worker(process.pid) is not None
        )

    def predicts(self, models: Callable[[], Iterable[str]]) -> bool:
        """Whether no model hangs: workers that are READY, compute nothing and answer nothing.

        Under load a prediction may take long, and without a READY worker there is none.
        """
        return all(map(self._predicts, models()))

    def _predicts(self, model: str) -> bool:
        before = self.describe(model)
        if before is None or not before.ready_workers:
            return True
        begun_s, cpu_s = time.monotonic(), cpu_seconds(before)
        if self.predict(model, PREDICTION_CHECK_S) is not None:
            return True
        now = self.describe(model)
        is_idle = cpu_seconds(before) - cpu_s < IDLE_SHARE * (time.monotonic() - begun_s)
        return not (is_idle and now is not None and now.ready_pids == before.ready_pids)

    def _request(
        self, method: str, kind: Kind, port: int, path: str, *, body: bytes | None = None, timeout_s: float = 10.0
    ) -> LocalReply | None:
        if not self._key_file.exists():  # Java has not come that far
            return None
        token = read_keys(self._key_file).tokens[kind].key
        return request(method, port, path, token=token, body=body, timeout_s=timeout_s)


def using_temp(temp: str) -> list[psutil.Process]:
    """Processes started with the private directory ``temp``: TorchServe, and workers even after it is gone."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # ended meanwhile, or another user's
            arguments = process.cmdline()
            if any(part == f"-Djava.io.tmpdir={temp}" or part.startswith(f"{temp}/") for part in arguments):
                found.append(process)
    return found
