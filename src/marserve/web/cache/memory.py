"""Results in this process's memory."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from marserve.web.metrics import Metrics

#: Bytes that an entry costs besides its key and body: three objects, a tuple and a place in the dictionary.
OVERHEAD_BYTES = 400


class MemoryCache:
    """Bounded in entries and bytes: what was not used for longest makes room. Entries expire."""

    def __init__(
        self,
        *,
        max_entries: int,
        max_bytes: int,
        ttl_s: float,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._ttl_s = ttl_s
        self._metrics = metrics
        self._clock = clock
        #: Key to expiry time and body; used longest ago first.
        self._entries: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._bytes = 0

    async def get(self, key: str) -> bytes | None:
        """The body, which counts as used now."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        expires, body = entry
        if expires <= self._clock():
            self._remove(key)
            return None
        self._entries.move_to_end(key)
        return body

    async def put(self, key: str, body: bytes) -> None:
        """Keep ``body``, unless it is larger than the whole cache may be."""
        if key in self._entries:
            self._remove(key)
        self._entries[key] = (self._clock() + self._ttl_s, body)
        self._bytes += _size(key, body)
        if _size(key, body) > self._max_bytes:
            self._remove(key)
        while len(self._entries) > self._max_entries or self._bytes > self._max_bytes:
            self._remove(next(iter(self._entries)))
        self._metrics.cache_entries.set(len(self._entries))
        self._metrics.cache_bytes.set(self._bytes)

    async def close(self) -> None:
        """Nothing is held open."""

    def _remove(self, key: str) -> None:
        _, body = self._entries.pop(key)
        self._bytes -= _size(key, body)


def _size(key: str, body: bytes) -> int:
    return len(key) + len(body) + OVERHEAD_BYTES
