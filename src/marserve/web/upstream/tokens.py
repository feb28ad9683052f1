"""TorchServe's tokens: read from its key file, and renewed before they expire.

TorchServe writes the file anew at every start and at every renewal, and refuses the token before it at once.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Literal, Protocol

logger = logging.getLogger(__name__)

Kind = Literal["inference", "management"]
KINDS: tuple[Kind, ...] = ("inference", "management")

#: Tokens are valid for an hour; one that is valid for less than this is renewed.
MARGIN = timedelta(minutes=10)
#: Seconds between looks at how long the tokens are still valid.
CHECK_S = 30.0
#: Seconds between attempts to replace a token that is refused, however many requests find it refused.
RETRY_S = 1.0
#: TorchServe writes the file in place, and it can be seen half-written: attempts to read it, and seconds between them.
READ_ATTEMPTS = 4
READ_PAUSE_S = 0.05

#: Asks the management API for a new token of a kind, with the API key; True where it was made.
Renew = Callable[[Kind, str], Awaitable[bool]]


class TokenSource(Protocol):
    """Where a connection gets its token from."""

    def current(self, kind: Kind) -> str | None:
        """The token to send; None: send none."""

    async def replace(self, kind: Kind, refused: str | None) -> None:
        """Get another token than the one that was ``refused``, if one can be had."""


class NoTokens:
    """A TorchServe without token authorization."""

    def current(self, kind: Kind) -> str | None:  # noqa: ARG002
        """No token."""
        return None

    async def replace(self, kind: Kind, refused: str | None) -> None:
        """There is nothing to replace."""


class KeyFileTokens:
    """The tokens in TorchServe's ``key_file.json``, which need not exist yet."""

    def __init__(self, file: Path, renew: Renew) -> None:
        self._file = file
        self._renew = renew
        self._content: dict[str, dict[str, str]] = {}
        self._lock = asyncio.Lock()
        self._last_attempt = dict.fromkeys(KINDS, float("-inf"))

    def current(self, kind: Kind) -> str | None:
        """The token as it was last read."""
        return self._content.get(kind, {}).get("key")

    async def replace(self, kind: Kind, refused: str | None) -> None:
        """Read the file again; where it still has the ``refused`` token, have it renewed."""
        async with self._lock:
            if self.current(kind) != refused:
                return  # another request was here first
            await self._read()
            waited = time.monotonic() - self._last_attempt[kind]
            if self.current(kind) == refused and waited > RETRY_S:
                self._last_attempt[kind] = time.monotonic()
                await self._renew_and_read(kind)

    async def keep_fresh(self) -> None:
        """Renew tokens before they expire; runs until it is cancelled."""
        while True:
            async with self._lock:
                await self._read()
                for kind in KINDS:
                    if self._expires_soon(kind):
                        await self._renew_and_read(kind)
            await asyncio.sleep(CHECK_S)

    def _expires_soon(self, kind: Kind) -> bool:
        entry = self._content.get(kind)
        return entry is not None and _parse_time(entry["expiration time"]) - datetime.now(timezone.utc) < MARGIN

    async def _renew_and_read(self, kind: Kind) -> None:
        api_key = self._content.get("API", {}).get("key")
        if api_key and await self._renew(kind, api_key):
            await self._read()
            logger.info("Renewed TorchServe's %s token", kind)
        else:
            logger.warning("TorchServe's %s token could not be renewed", kind)

    async def _read(self) -> None:
        for attempt in range(1, READ_ATTEMPTS + 1):
            problem = self._try_to_read()
            if problem is None:
                return
            if attempt == READ_ATTEMPTS:
                logger.warning("KEY_FILE cannot be read: %s", problem)
            await asyncio.sleep(READ_PAUSE_S)

    def _try_to_read(self) -> Exception | None:
        try:
            self._content = _parse(self._file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None  # TorchServe has not started yet
        except (OSError, ValueError) as exc:
            return exc
        return None


def _parse(text: str) -> dict[str, dict[str, str]]:
    """The file's content; raises ValueError where it is not whole."""
    content: dict[str, dict[str, str]] = json.loads(text)
    try:
        for kind in KINDS:
            _parse_time(content[kind]["expiration time"])
            str(content[kind]["key"])
        str(content["API"]["key"])
    except (KeyError, TypeError) as exc:
        raise ValueError(f"no {exc} in it") from exc
    return content


def _parse_time(text: str) -> datetime:
    # Java writes up to nine decimals of a second, and none where they are zero; Python 3.10 reads six, and no Z.
    return datetime.fromisoformat(text.rstrip("Z").partition(".")[0]).replace(tzinfo=timezone.utc)
