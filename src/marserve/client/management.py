"""Operating TorchServe: its models, their versions and workers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from marserve.client.connection import Backoff, Connection
from marserve.client.credentials import ApiKey, KeyFileToken
from marserve.client.errors import InvalidAnswer, Refused, ServerFailed, TimedOut
from marserve.system.waiting import wait_until
from marserve.torchserve.models import (
    MALFORMED,
    ModelVersion,
    Question,
    Result,
    all_versions,
    every_version,
    model_names,
    model_path,
    one_version,
)

#: Seconds for a question.
DEADLINE_S = 10.0
#: Seconds for a step that waits for workers; TorchServe itself gives each two minutes to start.
WORKERS_DEADLINE_S = 150.0
#: Seconds between two requests about a model that is not ready.
POLL_S = 0.25
#: Times that workers are taken away where TorchServe breaks off.
ATTEMPTS = 5


class ManagementClient:
    """Each method raises ClientError. What reads is retried while TorchServe is not there; what changes is not, but for
    workers and versions that TorchServe has taken away only in part: see ``scale``.
    """

    def __init__(
        self, url: str, *, key_file: Path | None = None, deadline_s: float = DEADLINE_S, backoff: Backoff | None = None
    ) -> None:
        """``key_file`` has TorchServe's tokens; None where token authorization is off."""
        token = ApiKey() if key_file is None else KeyFileToken(key_file, url, "management")
        self._connection = Connection(url, token, connections=1, backoff=backoff)
        self._deadline_s = deadline_s

    def list_models(self) -> list[str]:
        return self._answer(model_names())

    def describe(self, model: str, version: str | None = None, *, customized: bool = False) -> ModelVersion:
        """One version of a model, or its default one.

        ``customized``: with what the archive says of itself; that goes through the model's queue and so may take long.
        """
        return self._answer(one_version(model, version, customized=customized))

    def describe_all(self, model: str | None = None) -> list[ModelVersion]:
        """Every version of a model, or of all models, in the order of their numbers."""
        return self._answer(every_version() if model is None else all_versions(model))

    def register(
        self,
        archive: str,
        *,
        model: str | None = None,
        workers: int = 0,
        synchronous: bool = True,
        deadline_s: float = WORKERS_DEADLINE_S,
        **options: str | int,
    ) -> str:
        """Load ``archive``, a file of the model store or an address that TorchServe allows; answers what it says.

        ``synchronous``: answer when its workers are READY; meanwhile TorchServe's frontend serves others more slowly.

        Its version is the one the archive was made with, and becomes the default only where it is the first one.
        ``options`` are TorchServe's, such as ``batch_size``. Needs ``enable_model_api=true``.
        """
        query = {"url": archive, "initial_workers": workers, "synchronous": str(synchronous).lower(), **options}
        if model is not None:
            query["model_name"] = model
        return self._step("POST", f"/models?{urlencode(query)}", deadline_s)

    def unregister(self, model: str, version: str | None = None, *, deadline_s: float = WORKERS_DEADLINE_S) -> str:
        """Remove a version, or the default one; TorchServe refuses that while there are others."""
        path = model_path(model, version)
        try:
            return self._step("DELETE", path, deadline_s)
        except ServerFailed:  # it broke off as it took the workers away (see ``scale``), or just afterwards
            try:
                return self._step("DELETE", path, deadline_s)
            except Refused as exc:
                if exc.status != 404:
                    raise
                return ""

    def scale(
        self,
        model: str,
        workers: int,
        version: str | None = None,
        *,
        max_workers: int | None = None,
        synchronous: bool = True,
        deadline_s: float = WORKERS_DEADLINE_S,
    ) -> str:
        """Have ``workers`` workers, or with ``max_workers`` at least ``workers``; ``synchronous``: wait for them.

        TorchServe waits in a thread that also reads requests and writes answers: where others are to be served
        meanwhile, rather scale asynchronously and call ``wait_until_ready``. It fails or queues anew what the workers
        that go are working on.

        Taking workers away, TorchServe sometimes breaks off: under load two of its threads put a worker's batch back
        into the queue, and one finds it gone (NullPointerException); or its thread is interrupted while it waits for a
        worker's end, after which it may even answer 202. So the list is read, and the same request sent again.
        """
        most = workers if max_workers is None else max_workers
        query = {"min_worker": workers, "max_worker": most, "synchronous": str(synchronous).lower()}
        path = f"{model_path(model, version)}?{urlencode(query)}"
        for _ in range(ATTEMPTS):
            failure, status = None, ""
            try:
                status = self._step("PUT", path, deadline_s)
            except ServerFailed as exc:
                failure = exc
            now = self.describe(model, version)
            if len(now.workers) <= most and (failure is None or now.ready_workers >= workers):
                return status
            if len(now.workers) <= most:  # new workers cannot start
                break
        raise failure or ServerFailed(f"TorchServe keeps {len(now.workers)} workers of {now}: {most} were requested.")

    def set_default(self, model: str, version: str) -> str:
        """Have ``version`` answer requests that name none."""
        return self._step("PUT", f"{model_path(model, version)}/set-default", self._deadline_s)

    def wait_until_ready(
        self, model: str, version: str | None = None, *, workers: int = 1, deadline_s: float = WORKERS_DEADLINE_S
    ) -> ModelVersion:
        """The version, once ``workers`` of its workers are ready. Raises TimedOut."""
        seen = ""

        def ready() -> ModelVersion | None:
            nonlocal seen
            try:
                described = self.describe(model, version)
            except Refused as exc:
                if exc.status != 404:
                    raise
                seen = "is not registered"
            except (ServerFailed, TimedOut) as exc:  # while it starts or is busy
                seen = f"cannot be described: {exc}"
            else:
                if described.ready_workers >= workers:
                    return described
                seen = f"has {described.ready_workers} of {workers} workers ready"
            return None

        found = wait_until(ready, deadline_s, poll_s=POLL_S)
        if found is None:
            name = model if version is None else f"{model} {version}"
            raise TimedOut(f"After {deadline_s:g} s {name} {seen}; TorchServe's log says why.")
        return found

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> ManagementClient:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _answer(self, question: Question[Result]) -> Result:
        path = next(question)
        while True:
            content = _parse(self._connection.request("GET", path, deadline_s=self._deadline_s))
            try:
                path = question.send(content)
            except StopIteration as done:
                found: Result = done.value
                return found
            except MALFORMED as exc:
                raise InvalidAnswer(
                    "The answer is no list of models: is this the address of TorchServe's management API?"
                ) from exc

    def _step(self, method: str, path: str, deadline_s: float) -> str:
        content = _parse(self._connection.request(method, path, deadline_s=deadline_s, retry=False))
        return str(content.get("status", "")) if isinstance(content, dict) else ""


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError as exc:
        raise InvalidAnswer("The answer is no JSON: is this the address of TorchServe's management API?") from exc
