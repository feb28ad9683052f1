"""HTTP to one of TorchServe's APIs: a pool of kept-alive connections, a deadline for every call, and its token."""

from __future__ import annotations

import asyncio
import errno
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import anyio

from marserve.handler.resnet18.groups import Buffer
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
    is_refusal,
    keys_as_written,
    valid_keys,
)

logger = logging.getLogger(__name__)

#: Seconds that an idle connection is kept; TorchServe itself never closes one that it has not answered with an error.
KEEP_ALIVE_S = 60.0
#: Seconds for an answer of the management API, which has no queue: less than the catalogue needs to grow stale.
MANAGEMENT_TIMEOUT_S = 2.0
#: Added by the HTTP client on its own; TorchServe would hand them all to its worker.
UNWANTED_HEADERS = ("User-Agent", "Accept", "Accept-Encoding")
#: Seconds between checks of how long the tokens are still valid.
TOKEN_CHECK_S = 30.0
#: Seconds between attempts to replace a refused token after one that failed, however many requests find it refused.
TOKEN_RETRY_S = 1.0

#: Bytes that are written at once.
PIECE_BYTES = 256_000

#: Requests a new token from the management API; answers the status, None for no answer.
Renewal = Callable[[Renew], Awaitable[int | None]]


class UpstreamError(Exception):
    """TorchServe gave no answer that can be used."""


class TorchServeUnreachable(UpstreamError):  # noqa: N818
    """Nothing listens there."""


class TorchServeLost(TorchServeUnreachable):
    """A connection broke that the request was sent on, and a second one broke as well or could not be made."""


class NoDescriptorsLeft(UpstreamError):  # noqa: N818
    """This process has too many files and connections open to make another one."""


class TorchServeTimeout(UpstreamError):  # noqa: N818
    """No answer in time: TorchServe never gives up a request whose worker is dead."""


class TorchServeGarbage(UpstreamError):  # noqa: N818
    """What came back is not HTTP."""


@dataclass(frozen=True)
class UpstreamReply:
    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class KeyFileTokens:
    """The tokens in TorchServe's ``key_file.json``, which need not exist yet."""

    def __init__(self, file: Path, renew: Renewal) -> None:
        self._file = file
        self._renew = renew
        self._keys: Keys | None = None
        self._lock = asyncio.Lock()
        self._failed_at = float("-inf")

    def current(self, kind: Kind) -> str | None:
        return None if self._keys is None else self._keys.tokens[kind].key

    async def replace(self, kind: Kind, refused: str | None) -> None:
        """Read the file again; where it still has the ``refused`` token, have it renewed."""
        async with self._lock:
            if self.current(kind) != refused:
                return  # another request was here first
            if time.monotonic() - self._failed_at < TOKEN_RETRY_S:
                await self._update(keys_as_written(self._file, attempts=1))
                return
            await self._update(valid_keys(self._file, kind, refused, self._keys))
            if self.current(kind) == refused:
                self._failed_at = time.monotonic()

    async def keep_fresh(self) -> None:
        """Renew tokens before they expire; runs until it is cancelled."""
        while True:
            async with self._lock:
                for kind in KINDS:
                    await self._update(valid_keys(self._file, kind, known=self._keys))
            await asyncio.sleep(TOKEN_CHECK_S)

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
                        result = await anyio.to_thread.run_sync(do_file_step, step, held)
            except StopIteration as done:
                keys: Keys = done.value
                return keys


class _Pieces(aiohttp.payload.Payload):
    """A body of several pieces. Of a large one the event loop is free in between."""

    _autoclose = True

    def __init__(self, pieces: Sequence[Buffer]) -> None:
        super().__init__(pieces)
        self._size = sum(map(len, pieces))

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:  # noqa: ARG002
        raise TypeError("A picture is no text.")

    async def write(self, writer: aiohttp.abc.AbstractStreamWriter) -> None:
        for piece in self._value:
            if len(piece) <= PIECE_BYTES:
                await writer.write(piece)
                continue
            whole = memoryview(piece)
            for start in range(0, len(whole), PIECE_BYTES):
                await writer.write(whole[start : start + PIECE_BYTES])


class UpstreamConnection:
    """One API of TorchServe."""

    def __init__(self, base_url: str, kind: Kind, tokens: KeyFileTokens | None, *, max_connections: int) -> None:
        """Call it where an event loop runs. ``tokens`` None: a TorchServe without token authorization."""
        self._base_url = base_url
        self._kind = kind
        self._tokens = tokens
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=max_connections, keepalive_timeout=KEEP_ALIVE_S),
            timeout=aiohttp.ClientTimeout(total=None),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=UNWANTED_HEADERS,
            auto_decompress=False,
        )

    async def close(self) -> None:
        await self._session.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        timeout_s: float,
        body: Sequence[Buffer] = (),
        headers: Mapping[str, str] | None = None,
    ) -> UpstreamReply:
        """Send a request, and once more with a new token where the token was refused. Raises UpstreamError.

        ``body`` is written piece by piece, and not copied.
        """
        try:
            with anyio.fail_after(timeout_s):
                token = self._tokens.current(self._kind) if self._tokens else None
                reply = await self._send(method, path, body, headers, token)
                if self._tokens and is_refusal(reply.status, reply.body):
                    await self._tokens.replace(self._kind, token)
                    renewed = self._tokens.current(self._kind)
                    if renewed != token:
                        reply = await self._send(method, path, body, headers, renewed)
                return reply
        except TimeoutError as exc:
            raise TorchServeTimeout(f"no answer within {timeout_s:g} s") from exc

    async def renew_token(self, step: Renew) -> int | None:
        """Have the management API write a new token into the key file; the status, None for no answer."""
        try:
            with anyio.fail_after(MANAGEMENT_TIMEOUT_S):
                return (await self._send("GET", step.path, (), None, step.api_key)).status
        except (UpstreamError, TimeoutError):
            return None

    async def _send(
        self, method: str, path: str, body: Sequence[Buffer], headers: Mapping[str, str] | None, token: str | None
    ) -> UpstreamReply:
        """Once more where a connection broke: it may have been closed just as it was taken out of the pool.

        That repeats a request which TorchServe had begun to work on, which is harmless: none of ours changes anything.
        """
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        try:
            return await self._exchange(method, path, body, sent)
        except TorchServeLost as lost:
            try:
                return await self._exchange(method, path, body, sent)
            except TorchServeUnreachable:
                raise lost from None

    async def _exchange(
        self, method: str, path: str, body: Sequence[Buffer], headers: Mapping[str, str]
    ) -> UpstreamReply:
        data = _Pieces(body) if body else None
        try:
            async with self._session.request(
                method, self._base_url + path, data=data, headers=headers, allow_redirects=False
            ) as response:
                return UpstreamReply(response.status, await response.read(), response.headers)
        except aiohttp.ClientConnectorError as exc:
            if exc.errno in (errno.EMFILE, errno.ENFILE):
                raise NoDescriptorsLeft(str(exc)) from exc
            raise TorchServeUnreachable(str(exc)) from exc
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as exc:
            raise TorchServeLost(str(exc) or type(exc).__name__) from exc
        except aiohttp.ClientError as exc:
            raise TorchServeGarbage(str(exc)) from exc
