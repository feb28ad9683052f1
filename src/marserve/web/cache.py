"""Results of repeated pictures: in this process's memory, or in Redis, which several web services share."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

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
#: Seconds for one answer of Redis; a recomputed result takes not much longer.
TIMEOUT_S = 0.25
#: Seconds without Redis after it failed, so that a dead one costs TIMEOUT_S once and not for every picture.
PAUSE_S = 5.0


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
    """Redis bounds the size itself (``maxmemory`` with an ``allkeys-lru`` policy) and expires the entries."""

    def __init__(self, url: str, *, ttl_s: int, metrics: WebMetrics) -> None:
        from redis.asyncio import Redis
        from redis.exceptions import RedisError

        #: What a Redis that is away, frozen, loading or full raises.
        self._failures = (RedisError, OSError, TimeoutError)
        self._redis: Redis = Redis.from_url(url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S)
        self._ttl_s = ttl_s
        self._metrics = metrics
        self._paused_until = float("-inf")

    async def get(self, key: str) -> bytes | None:
        kept = await self._send(lambda: self._redis.get(PREFIX + key))
        if not isinstance(kept, bytes):
            return None
        body = kept[SEAL_BYTES:]
        return body if kept[:SEAL_BYTES] == _seal(key, body) else None

    async def put(self, key: str, body: bytes) -> None:
        await self._send(lambda: self._redis.set(PREFIX + key, _seal(key, body) + body, ex=self._ttl_s))

    async def close(self) -> None:
        await self._redis.aclose()

    async def _send(self, command: Callable[[], Awaitable[object]]) -> object:
        """What Redis answers; None where it fails, and for PAUSE_S afterwards."""
        if time.monotonic() < self._paused_until:
            return None
        try:
            return await command()
        except self._failures as exc:
            self._paused_until = time.monotonic() + PAUSE_S
            self._metrics.cache_errors.inc()
            logger.warning("Redis failed, %g s without it: %s", PAUSE_S, type(exc).__name__)
            return None


def _seal(key: str, body: bytes) -> bytes:
    """Against damage, and not against an enemy: whoever may write to Redis can make one."""
    return hashlib.sha256(key.encode() + body).digest()[:SEAL_BYTES]
