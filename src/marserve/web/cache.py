"""Results of repeated pictures: in this process's memory, or in Redis, which several web services share."""

from __future__ import annotations

import hashlib
import hmac
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

import anyio
from cachetools import TTLCache

from marserve.web.metrics import WebMetrics
from marserve.web.settings import WebSettings

logger = logging.getLogger(__name__)

#: Bytes that an entry costs in memory besides its body: its key, three objects more and places in three dictionaries.
OVERHEAD_BYTES = 400

#: Begins every key in Redis; changes with the meaning of what is stored, so that old and new services can share one.
PREFIX = "torchserve-web:2:"
#: Bytes before each body in Redis that show that it is whole, and the answer to this very request.
SEAL_BYTES = 16
#: Bytes of an entry: a thousand classes are some 100,000.
MAX_ENTRY_BYTES = 1_000_000
#: Seconds for one answer of Redis, connecting included; a recomputed result takes not much longer.
TIMEOUT_S = 0.25
#: Seconds without Redis after it failed, so that a dead one costs TIMEOUT_S once and not for every picture.
PAUSE_S = 5.0
#: Seconds of an answer that is slow, though it comes: Redis beside this service takes less than a thousandth.
SLOW_S = 0.05
#: Slow answers in a row after which Redis counts as failed.
MAX_SLOW = 5


class ResultCache(Protocol):
    """Maps the key of a request to the body of its answer. No method raises: a broken cache is an empty one."""

    async def get(self, key: str) -> bytes | None:
        """The body stored under ``key``, unless it was never stored, has expired or had to make room."""

    async def put(self, key: str, body: bytes) -> None:
        """Keep ``body`` for a while, unless it is larger than the whole cache may be."""

    async def close(self) -> None: ...


def create_cache(settings: WebSettings, metrics: WebMetrics) -> ResultCache:
    if settings.cache_url is not None and settings.cache_max_entries:
        return RedisCache(settings.cache_url, ttl_s=settings.cache_ttl_s, metrics=metrics)
    return MemoryCache(
        max_entries=settings.cache_max_entries,
        max_bytes=settings.cache_max_bytes,
        ttl_s=settings.cache_ttl_s,
        metrics=metrics,
    )


def cache_key(picture: bytes, identity: str, *, top_k: int, explain: bool, class_id: int | None = None) -> str:
    """A key that is only equal where the answer is; ``identity`` stands for the model, its version and its archive.

    SHA-256 throughout: nobody can make a picture that gets another one's answer.
    """
    explained = explain if class_id is None else class_id
    # The picture's digest has a fixed length, so that no choice of bytes can be mistaken for what follows.
    request = hashlib.sha256(picture).digest() + f"{top_k}\n{explained}\n{identity}".encode()
    return hashlib.sha256(request).hexdigest()


class MemoryCache:
    """Bounded in entries and bytes: what was not used for longest makes room. Entries expire."""

    def __init__(
        self,
        *,
        max_entries: int,
        max_bytes: int,
        ttl_s: float,
        metrics: WebMetrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """With ``max_entries`` of 0 it keeps nothing."""
        self._max_entries = max_entries
        self._metrics = metrics
        self._entries: TTLCache[str, bytes] = TTLCache(
            max_bytes, ttl_s, timer=clock, getsizeof=lambda body: len(body) + OVERHEAD_BYTES
        )

    async def get(self, key: str) -> bytes | None:
        return self._entries.get(key)

    async def put(self, key: str, body: bytes) -> None:
        self._entries.pop(key, None)
        if self._max_entries and self._entries.getsizeof(body) <= self._entries.maxsize:
            if len(self._entries) >= self._max_entries:
                self._entries.popitem()
            self._entries[key] = body
        self._metrics.cache_entries.set(len(self._entries))
        self._metrics.cache_bytes.set(self._entries.currsize)

    async def close(self) -> None:
        pass


class RedisCache:
    """Redis bounds the size itself (``maxmemory`` with an ``allkeys-lru`` policy) and expires the entries.

    Nothing that it answers is trusted: each entry begins with a seal, so that what was cut, swapped or overwritten is
    no answer.
    """

    def __init__(self, url: str, *, ttl_s: int, metrics: WebMetrics) -> None:
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
        from redis.exceptions import RedisError, ResponseError

        #: What a Redis that is away, frozen, loading or full raises, or one that is none.
        self._failures = (RedisError, OSError, TimeoutError, ValueError, RecursionError)
        #: It is there, and will not do this: it may be full, or only read from.
        self._refusal = ResponseError
        self._redis: Redis = Redis.from_url(
            url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, retry=Retry(NoBackoff(), 0)
        )
        self._ttl_s = ttl_s
        self._metrics = metrics
        #: When it is asked again, and when it is given something again.
        self._asked_from = self._given_from = float("-inf")
        self._slow_in_a_row = 0
        self._is_well = True

    async def get(self, key: str) -> bytes | None:
        if time.monotonic() < self._asked_from:
            return None
        # Of a value that is too long no more than shows that.
        entry = await self._send(self._redis.getrange(PREFIX + key, 0, MAX_ENTRY_BYTES))
        if not isinstance(entry, bytes) or not entry:
            return None
        body = entry[SEAL_BYTES:]
        if len(entry) > MAX_ENTRY_BYTES or not hmac.compare_digest(entry[:SEAL_BYTES], _seal(key, body)):
            self._metrics.cache_errors.inc()
            return None
        return body

    async def put(self, key: str, body: bytes) -> None:
        entry = _seal(key, body) + body
        if time.monotonic() >= self._given_from and len(entry) <= MAX_ENTRY_BYTES:
            await self._send(self._redis.set(PREFIX + key, entry, ex=self._ttl_s), is_gift=True)

    async def close(self) -> None:
        await self._redis.aclose()

    async def _send(self, command: Awaitable[object], *, is_gift: bool = False) -> object:
        """What Redis answers; None where it fails, after which it is left alone for PAUSE_S."""
        started = time.monotonic()
        try:
            with anyio.fail_after(TIMEOUT_S):
                answer = await command
        except self._failures as exc:
            self._metrics.cache_errors.inc()
            if isinstance(exc, self._refusal):
                if is_gift:
                    self._given_from = time.monotonic() + PAUSE_S
                    self._tell_once("takes nothing: %s", exc)
                return None
            self._pause()
            self._tell_once("failed: %s", type(exc).__name__)
            return None
        is_slow = time.monotonic() - started > SLOW_S
        self._slow_in_a_row = self._slow_in_a_row + 1 if is_slow else 0
        if self._slow_in_a_row == MAX_SLOW:
            self._metrics.cache_errors.inc()
            self._pause()
            self._tell_once("answers too slowly: %d times in a row took more than %g s", MAX_SLOW, SLOW_S)
        elif not is_slow and not self._is_well and time.monotonic() >= self._given_from:
            self._is_well = True
            logger.info("Redis answers again")
        return answer

    def _pause(self) -> None:
        self._slow_in_a_row = 0
        self._asked_from = self._given_from = time.monotonic() + PAUSE_S

    def _tell_once(self, what: str, *of: object) -> None:
        """Until it is well again."""
        if self._is_well:
            logger.warning(f"Redis {what}; it is left alone for %g s at a time", *of, PAUSE_S)
        self._is_well = False


def _seal(key: str, body: bytes) -> bytes:
    """Against damage, and not against an enemy: whoever may write to Redis can make one."""
    return hashlib.sha256(key.encode() + body).digest()[:SEAL_BYTES]
