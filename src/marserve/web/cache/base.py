"""What a cache of results can do."""

from __future__ import annotations

import hashlib
from typing import Protocol


class ResultCache(Protocol):
    """Maps the key of a request to the body of its answer. No method raises: a broken cache is an empty one."""

    async def get(self, key: str) -> bytes | None:
        """The body stored under ``key``, unless it was never stored, has expired or had to make room."""

    async def put(self, key: str, body: bytes) -> None:
        """Keep ``body`` for a while."""

    async def close(self) -> None:
        """Give back what the cache holds open."""


class NoCache:
    """Keeps nothing."""

    async def get(self, key: str) -> bytes | None:  # noqa: ARG002
        """Nothing."""
        return None

    async def put(self, key: str, body: bytes) -> None:
        """Forget ``body``."""

    async def close(self) -> None:
        """There is nothing to give back."""


def cache_key(picture: bytes, identity: str, *, top_k: int, explain: bool) -> str:
    """A key that is only equal where the answer is; ``identity`` stands for the model, its version and its archive.

    SHA-256 throughout: nobody can make a picture that gets another one's answer.
    """
    # The picture's digest has a fixed length, so that no choice of bytes can be mistaken for what follows.
    request = hashlib.sha256(picture).digest() + f"{top_k}\n{explain}\n{identity}".encode()
    return hashlib.sha256(request).hexdigest()
