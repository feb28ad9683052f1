"""TorchServe's tokens in an event loop: read from its key file, and renewed before they expire."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path

from anyio import to_thread

from marserve.torchserve.key_file import (
    KINDS,
    Flow,
    KeyFileError,
    Keys,
    Kind,
    NoKeyFileError,
    Pause,
    Renew,
    do_file_step,
    keys_as_written,
    valid_keys,
)

logger = logging.getLogger(__name__)

#: Seconds between checks of how long the tokens are still valid.
CHECK_S = 30.0
#: Seconds between attempts to replace a refused token after one that failed, however many requests find it refused.
RETRY_S = 1.0

#: Requests a new token from the management API; answers the status, None for no answer.
Renewal = Callable[[Renew], Awaitable[int | None]]


class KeyFileTokens:
    """The tokens in TorchServe's ``key_file.json``, which need not exist yet."""

    def __init__(self, file: Path, renew: Renewal) -> None:
        self._file = file
        self._renew = renew
        self._keys: Keys | None = None
        self._lock = asyncio.Lock()
        self._failed_at = float("-inf")

    def current(self, kind: Kind) -> str | None:
        """The token as it was last read."""
        return None if self._keys is None else self._keys.tokens[kind].key

    async def replace(self, kind: Kind, refused: str | None) -> None:
        """Read the file again; where it still has the ``refused`` token, have it renewed."""
        async with self._lock:
            if self.current(kind) != refused:
                return  # another request was here first
            if time.monotonic() - self._failed_at < RETRY_S:
                await self._update(keys_as_written(self._file, attempts=1))
                return
            await self._update(valid_keys(self._file, kind, refused))
            if self.current(kind) == refused:
                self._failed_at = time.monotonic()

    async def keep_fresh(self) -> None:
        """Renew tokens before they expire; runs until it is cancelled."""
        while True:
            async with self._lock:
                for kind in KINDS:
                    await self._update(valid_keys(self._file, kind))
            await asyncio.sleep(CHECK_S)

    async def _update(self, flow: Flow) -> None:
        try:
            self._keys = await self._drive(flow)
        except NoKeyFileError:  # TorchServe has not started yet
            pass
        except KeyFileError as exc:
            logger.warning("%s", exc)

    async def _drive(self, flow: Flow) -> Keys:
        result: object = None
        with ExitStack() as held:
            try:
                while True:
                    step = flow.send(result)
                    if isinstance(step, Pause):
                        await asyncio.sleep(step.seconds)
                    elif isinstance(step, Renew):
                        result = await self._renew(step)
                        logger.info("Requested a new %s token of TorchServe: status %s", step.kind, result)
                    else:
                        result = await to_thread.run_sync(do_file_step, step, held)
            except StopIteration as done:
                keys: Keys = done.value
                return keys
