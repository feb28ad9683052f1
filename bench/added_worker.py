"""What one more TorchServe worker costs: seconds until it is READY, and memory, at a stack that runs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench import process_family
from bench.ask import Answer, ask
from bench.bodies import BodyFormat
from bench.candidates import RunningServer
from bench.errors import CandidateError
from bench.target import Target
from marserve.torchserve.models import model_path, parse_version

#: TorchServe gives a worker two minutes to start.
READY_S = 130.0
POLL_S = 0.05


@dataclass(frozen=True)
class AddedWorker:
    """``workers`` is their number with the added one."""

    workers: int
    seconds: float
    extra_mb: float


class ManagementApi:
    """As much of TorchServe's management API as this needs."""

    def __init__(self, ports: Sequence[int], token: str | None = None) -> None:
        """The API answers at one of ``ports``. Raises CandidateError where it does not."""
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        for port in ports:
            self._target = Target(port, "/models", BodyFormat())
            answer = self._ask("GET", "/models")
            if answer is not None and answer.status == 200 and b'"models"' in answer.body:
                self.model: str = json.loads(answer.body)["models"][0]["modelName"]
                return
        raise CandidateError("TorchServe's management API answers at none of its ports.")

    def ready_workers(self) -> int:
        """Workers that TorchServe calls READY."""
        answer = self._ask("GET", model_path(self.model))
        if answer is None or answer.status != 200:
            return 0
        return parse_version(json.loads(answer.body)[0]).ready_workers

    def scale(self, workers: int) -> float:
        """Ask for ``workers`` and answer the seconds until so many are READY."""
        started = time.monotonic()
        self._ask("PUT", f"/models/{self.model}?min_worker={workers}&max_worker={workers}")
        while self.ready_workers() != workers:
            if time.monotonic() - started > READY_S:
                raise CandidateError(f"{workers} workers were not READY in {READY_S:.0f} s.")
            time.sleep(POLL_S)
        return time.monotonic() - started

    def _ask(self, method: str, path: str) -> Answer | None:
        return ask(self._target, method, path, None, self._headers, 30)


def add_workers(
    server: RunningServer, api: ManagementApi, most: int, exercise: Callable[[], object]
) -> list[AddedWorker]:
    """From one worker to ``most``, one at a time; ``exercise`` puts load on all of them before memory is read."""
    api.scale(1)
    exercise()
    before = process_family.memory(server.mark).total_mb
    added = []
    for workers in range(2, most + 1):
        seconds = api.scale(workers)
        exercise()
        after = process_family.memory(server.mark).total_mb
        added.append(AddedWorker(workers, seconds, after - before))
        before = after
    return added
