"""Who may ask."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from starlette.datastructures import Headers


class ApiKeys:
    """The keys of a service; without any, everybody may ask."""

    def __init__(self, keys: Iterable[str]) -> None:
        # Digests have one length, so that a comparison does not tell that of a key.
        self._digests = [_digest(key) for key in keys]

    @property
    def are_required(self) -> bool:
        """Whether callers must show a key."""
        return bool(self._digests)

    def identify(self, headers: Headers) -> str | None:
        """A name, which is not the key, for the caller with these headers; None for an unknown or missing key.

        The time this takes does not depend on how much of a key is right: all are compared, and each in constant time.
        """
        shown = headers.get("x-api-key")
        if shown is None:
            scheme, _, credentials = headers.get("authorization", "").partition(" ")
            shown = credentials.strip() if scheme.lower() == "bearer" else ""
        digest = _digest(shown)
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        return digest.hex()[:16] if any(matches) else None


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
