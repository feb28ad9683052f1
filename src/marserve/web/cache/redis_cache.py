"""Results in Redis, shared by several web services."""

from __future__ import annotations

import logging
import time

from redis.asyncio import Redis
from redis.exceptions import RedisError

from marserve.web.metrics import Metrics

logger = logging.getLogger(__name__)

#: Changes with the meaning of what is stored, so that old and new services can share one Redis.
PREFIX = "torchserve-web:1:"
#: Seconds for one answer of Redis; a recomputed result takes not much longer.
TIMEOUT_S = 0.25
#: Seconds without Redis after it failed, so that a dead one costs TIMEOUT_S once and not for every picture.
PAUSE_S = 5.0

#: What a Redis that is away, frozen, loading or full raises.
FAILURES = (RedisError, OSError, TimeoutError)


class RedisCache:
    """Redis bounds the size itself (``maxmemory`` with an ``allkeys-lru`` policy) and expires the entries."""

    def __init__(self, url: str, *, ttl_s: int, metrics: Metrics) -> None:
        self._redis: Redis = Redis.from_url(url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S)
        self._ttl_s = ttl_s
        self._metrics = metrics
        self._paused_until = float("-inf")

    async def get(self, key: str) -> bytes | None:
        """The body; None also where Redis fails."""
        if self._is_paused:
            return None
        try:
            body = await self._redis.get(PREFIX + key)
        except FAILURES as exc:
            self._pause(exc)
            return None
        return body if isinstance(body, bytes) else None

    async def put(self, key: str, body: bytes) -> None:
        """Keep ``body``, if Redis works."""
        if self._is_paused:
            return
        try:
            await self._redis.set(PREFIX + key, body, ex=self._ttl_s)
        except FAILURES as exc:
            self._pause(exc)

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    @property
    def _is_paused(self) -> bool:
        return time.monotonic() < self._paused_until

    def _pause(self, failure: BaseException) -> None:
        self._paused_until = time.monotonic() + PAUSE_S
        self._metrics.cache_errors.inc()
        logger.warning("Redis failed, %g s without it: %s", PAUSE_S, type(failure).__name__)
