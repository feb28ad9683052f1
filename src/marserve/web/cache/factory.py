"""Which cache the settings ask for."""

from __future__ import annotations

from marserve.web.cache.base import NoCache, ResultCache
from marserve.web.cache.memory import MemoryCache
from marserve.web.metrics import Metrics
from marserve.web.settings import WebSettings


def create_cache(settings: WebSettings, metrics: Metrics) -> ResultCache:
    """The cache of this process."""
    if settings.cache_max_entries == 0:
        return NoCache()
    if settings.cache_url is not None:
        from marserve.web.cache.redis_cache import RedisCache

        return RedisCache(settings.cache_url, ttl_s=settings.cache_ttl_s, metrics=metrics)
    return MemoryCache(
        max_entries=settings.cache_max_entries,
        max_bytes=settings.cache_max_bytes,
        ttl_s=settings.cache_ttl_s,
        metrics=metrics,
    )
