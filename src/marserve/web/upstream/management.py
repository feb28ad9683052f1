"""TorchServe's management API, as far as it is read here: which models, versions and workers there are."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

from marserve.web.models import Description, Version
from marserve.web.upstream.connection import Connection
from marserve.web.upstream.tokens import Kind, NoTokens, TokenSource

#: The most that TorchServe lists in one answer.
PAGE_SIZE = 100


class ManagementError(Exception):
    """An answer that is no list of models; one of a model that has just gone, for example."""


class _ApiKey(NoTokens):
    """The key that fetches tokens takes a token's place in that one call."""

    def __init__(self, key: str) -> None:
        self._key = key

    def current(self, kind: Kind) -> str | None:  # noqa: ARG002
        return self._key


class Management:
    """Reads what TorchServe serves. Every method raises the errors of Connection.ask, or ManagementError."""

    def __init__(self, connection: Connection, timeout_s: float) -> None:
        self._connection = connection
        self._timeout_s = timeout_s
        self.tokens: TokenSource = NoTokens()

    async def list_versions(self) -> list[Version]:
        """All versions of all models."""
        try:
            return [version for name in await self._list_names() for version in await self._list_versions_of(name)]
        except (AttributeError, IndexError, KeyError, TypeError) as exc:
            raise ManagementError(f"a list of models without {exc}") from exc

    async def describe(self, name: str, version: str, timeout_s: float) -> Description:
        """What the archive says about itself; that goes through the model's queue, and so can take as long as that."""
        path = f"/models/{quote(name)}/{quote(version)}?customized=true"
        reported = await self._get(path, list, timeout_s)
        content = reported[0].get("customizedMetadata") if reported and isinstance(reported[0], dict) else None
        if isinstance(content, str):
            try:
                content = json.loads(content)
            except ValueError:
                content = None
        return _read_description(content if isinstance(content, dict) else {})

    async def renew_token(self, kind: Kind, api_key: str) -> bool:
        """Have TorchServe write a new token into its key file."""
        reply = await self._connection.ask(
            "GET", f"/token?type={kind}", tokens=_ApiKey(api_key), timeout_s=self._timeout_s
        )
        return reply.status == 200

    async def _list_versions_of(self, name: str) -> list[Version]:
        reported = await self._get(f"/models/{quote(name)}/all", list)
        # Only this call tells which version is the default one.
        default = reported if len(reported) == 1 else await self._get(f"/models/{quote(name)}", list)
        return [_read_version(name, entry, default[0]["modelVersion"]) for entry in reported]

    async def _list_names(self) -> list[str]:
        names: list[str] = []
        query = {"limit": str(PAGE_SIZE)}
        while True:
            page = await self._get(f"/models?{urlencode(query)}", dict)
            names += [str(model["modelName"]) for model in page["models"]]
            if not page.get("nextPageToken"):
                return names
            query["next_page_token"] = str(page["nextPageToken"])

    async def _get(self, path: str, kind: type, timeout_s: float | None = None) -> Any:
        reply = await self._connection.ask("GET", path, tokens=self.tokens, timeout_s=timeout_s or self._timeout_s)
        if reply.status != 200:
            raise ManagementError(f"status {reply.status} for {path}")
        try:
            content = json.loads(reply.body)
        except ValueError as exc:
            raise ManagementError(f"no JSON for {path}") from exc
        if not isinstance(content, kind):
            raise ManagementError(f"something else than a {kind.__name__} for {path}")
        return content


def _read_version(name: str, entry: dict[str, Any], default: str) -> Version:
    ready = [worker for worker in entry["workers"] if worker["status"] == "READY"]
    return Version(
        name=name,
        version=entry["modelVersion"],
        is_default=entry["modelVersion"] == default,
        url=entry["modelUrl"],
        ready_workers=frozenset(worker["pid"] for worker in ready),
        listed_workers=len(entry["workers"]),
    )


def _read_description(content: dict[str, Any]) -> Description:
    """What can be read; an archive that is not one of ours may describe itself in any way, or not at all."""
    weights = content.get("weights")
    trained = weights.get("trained") if isinstance(weights, dict) else None
    return Description(
        architecture=_of_type(content.get("architecture"), str),
        class_count=_of_type(content.get("class_count"), int),
        precision=_of_type(content.get("precision"), str),
        trained=_of_type(trained, bool),
        inputs_sha256=_of_type(content.get("inputs_sha256"), str),
    )


def _of_type(value: Any, kind: type) -> Any:
    return value if isinstance(value, kind) else None
