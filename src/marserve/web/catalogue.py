"""Which models are served: requested of TorchServe every second, so that it may restart, scale and change versions."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable

from marserve.torchserve.models import MALFORMED, ModelVersion, Question, Result, every_version, one_version
from marserve.web.errors import ModelUnavailable, UnknownModel
from marserve.web.models import ArchiveDescription, KnownModel
from marserve.web.upstream.connection import MANAGEMENT_TIMEOUT_S, UpstreamConnection, UpstreamError

logger = logging.getLogger(__name__)

#: Seconds between two requests for them.
REFRESH_S = 1.0
#: Seconds for an archive to describe itself; the question waits in the model's queue.
DESCRIBE_TIMEOUT_S = 5.0
#: Seconds after which a list that could not be refreshed is no proof any more that TorchServe is there.
STALE_S = 4.0

_Key = tuple[str, str]

#: A description, and the workers that were READY when it was last known to be right.
_Described = tuple[ArchiveDescription, frozenset[tuple[int, str]]]

NOT_DESCRIBED: _Described = (ArchiveDescription(), frozenset())


class Catalogue:
    """The models as last seen. They stay listed while TorchServe does not answer."""

    def __init__(self, management: UpstreamConnection, default_model: str) -> None:
        """``default_model`` answers where a caller names none."""
        self._management = management
        self._default_model = default_model
        self._versions: dict[_Key, ModelVersion] = {}
        self._descriptions: dict[_Key, _Described] = {}
        self._describing: dict[_Key, asyncio.Task[None]] = {}
        #: Every version of every model, joined when either part changes, and not for every picture.
        self.models: list[KnownModel] = []
        #: Called when they have been refreshed.
        self.on_refresh: Callable[[], None] = lambda: None
        self._refreshed = float("-inf")
        self._was_reached = True

    @property
    def is_current(self) -> bool:
        return time.monotonic() - self._refreshed < STALE_S

    def default(self) -> KnownModel | None:
        """What answers where the caller names no model; the demonstration model where the right one is untrained."""
        candidates = [model for model in self.models if model.reported.is_default]
        if not candidates:
            return None
        preferred = next((model for model in candidates if model.name == self._default_model), candidates[0])
        if preferred.weights == "untrained":
            return next((model for model in candidates if model.weights == "demonstration"), preferred)
        return preferred

    def find(self, name: str | None, version: str | None = None) -> KnownModel:
        """The model ``name``, the default one for None, in ``version``, or for None in its default version.

        Raises UnknownModel, or ModelUnavailable as long as no model has been seen at all.
        """
        if name is None:
            found = self.default()
            if found is not None and version is not None:
                found = self.get(found.name, version)
        elif version is None:
            found = next((model for model in self.models if model.name == name and model.reported.is_default), None)
        else:
            found = self.get(name, version)
        if found is not None:
            return found
        if not self._versions:
            raise ModelUnavailable("The model server is being started: try again in a few seconds.")
        names = ", ".join(f"{model.name} {model.version}" for model in self.models)
        raise UnknownModel(f"No such model or version is served; there are: {names}.")

    def get(self, name: str, version: str) -> KnownModel | None:
        """The same object as long as nothing was refreshed."""
        return next((model for model in self.models if model.version == version and model.name == name), None)

    async def keep_current(self) -> None:
        try:
            while True:
                await self.refresh()
                await asyncio.sleep(REFRESH_S)
        finally:
            for task in self._describing.values():
                task.cancel()

    async def refresh(self) -> None:
        """Refresh once. A failure leaves everything as it was."""
        try:
            versions = await self._answer(every_version(), MANAGEMENT_TIMEOUT_S)
        except UpstreamError as exc:
            if self._was_reached:
                logger.warning("TorchServe's models cannot be listed: %s", exc)
            self._was_reached = False
            return
        if not self._was_reached:
            logger.info("TorchServe's models are listed again")
        self._was_reached = True
        self._refreshed = time.monotonic()
        self._versions = {(version.model, version.version): version for version in versions}
        for version in versions:
            self._confirm_or_describe(version)
        self._join_all()

    def _join(self, version: ModelVersion) -> KnownModel:
        """``version`` with its description, which is confirmed while a worker from its time is still there.

        As long as TorchServe runs a version, its archive is the same and its workers come and go one by one; after a
        restart, or a new registration, all workers are new ones, and so may be the archive.
        """
        description, workers = self._descriptions.get((version.model, version.version), NOT_DESCRIBED)
        return KnownModel(version, description, not workers.isdisjoint(version.ready_processes))

    def _join_all(self) -> None:
        self.models = [self._join(version) for version in self._versions.values()]
        self.on_refresh()

    def _confirm_or_describe(self, version: ModelVersion) -> None:
        key = (version.model, version.version)
        if self._join(version).is_confirmed:
            self._descriptions[key] = (self._descriptions[key][0], version.ready_processes)
        elif version.ready_processes and key not in self._describing:
            task = asyncio.create_task(self._describe(version))
            self._describing[key] = task
            task.add_done_callback(lambda _: self._describing.pop(key))

    async def _describe(self, version: ModelVersion) -> None:
        key = (version.model, version.version)
        try:
            described = await self._answer(one_version(*key, customized=True), DESCRIBE_TIMEOUT_S)
        except UpstreamError as exc:
            logger.warning("%s %s did not describe itself: %s", *key, exc)
            return
        description = ArchiveDescription.read(described.description or {})
        if key not in self._descriptions or self._descriptions[key][0] != description:
            logger.info("Serving %s %s: %s", *key, description)
        self._descriptions[key] = (description, version.ready_processes)
        self._join_all()

    async def _answer(self, question: Question[Result], timeout_s: float) -> Result:
        """What the management API answers, ``timeout_s`` for each request. Raises UpstreamError."""
        path = next(question)
        while True:
            reply = await self._management.request("GET", path, timeout_s=timeout_s)
            if reply.status != 200:  # of a model that has just gone, for example
                raise UpstreamError(f"status {reply.status} for {path}")
            try:
                path = question.send(json.loads(reply.body))
            except StopIteration as done:
                found: Result = done.value
                return found
            except MALFORMED as exc:
                raise UpstreamError(f"no list of models for {path}: {exc!r}") from exc
