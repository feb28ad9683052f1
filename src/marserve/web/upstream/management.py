"""TorchServe's management API, as far as it is read here: which models, versions and workers there are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from marserve.torchserve.models import MALFORMED, ModelVersion, Question, every_version, one_version
from marserve.web.upstream.connection import UpstreamConnection, UpstreamError

Result = TypeVar("Result")


class ManagementError(UpstreamError):
    """An answer that is no list of models; one of a model that has just gone, for example."""


class Management:
    """Reads what TorchServe serves. Methods raise UpstreamError."""

    def __init__(self, connection: UpstreamConnection, timeout_s: float) -> None:
        self._connection = connection
        self._timeout_s = timeout_s

    async def list_versions(self) -> list[ModelVersion]:
        """All versions of all models."""
        return await self._answer(every_version(), self._timeout_s)

    async def describe(self, name: str, version: str, timeout_s: float) -> Mapping[str, Any]:
        """What the archive says about itself; that goes through the model's queue, and so can take as long as that."""
        described = await self._answer(one_version(name, version, customized=True), timeout_s)
        return described.description or {}

    async def _answer(self, question: Question[Result], timeout_s: float) -> Result:
        path = next(question)
        while True:
            reply = await self._connection.request("GET", path, timeout_s=timeout_s)
            if reply.status != 200:
                raise ManagementError(f"status {reply.status} for {path}")
            try:
                path = question.send(json.loads(reply.body))
            except StopIteration as done:
                found: Result = done.value
                return found
            except MALFORMED as exc:
                raise ManagementError(f"no list of models for {path}: {exc!r}") from exc
