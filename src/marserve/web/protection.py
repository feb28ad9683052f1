"""What stands between the world and TorchServe: keys, rates, numbers and sizes."""

from __future__ import annotations

import hashlib
import hmac
import io
import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache

import imagesize
from starlette.requests import Request

from marserve.handler.resnet18.errors import ImageTooLarge
from marserve.web.errors import ApiKeyRequired, Overloaded, RateLimited
from marserve.web.metrics import WebMetrics

#: Callers that are remembered; then the one that was quiet for longest is forgotten, and may send as if it were new.
MAX_CALLERS = 10_000
#: Steps and bytes in which the size of a picture must be found: photographs have it within some 50, of which none reads
#: more than a box of numbers.
MAX_HEADER_READS, MAX_HEADER_BYTES = 1024, 1 << 18
#: One person has at least so many bits of IPv6 addresses to choose from.
IPV6_PREFIX = 64


class Guard:
    """Knows the callers by their API keys, and how much each may send."""

    def __init__(self, api_keys: Iterable[str], rate_limit: RateLimit, metrics: WebMetrics) -> None:
        """Without ``api_keys`` everybody may send."""
        # Digests have one length, so that a comparison does not show that of a key.
        self._digests = [_digest(key) for key in api_keys]
        self._rate_limit = rate_limit
        self._metrics = metrics

    def check_key(self, request: Request) -> str:
        """A name, which is not the key, for the caller. Raises ApiKeyRequired.

        The time this takes does not depend on how much of a key is right: all are compared, and each in constant time.
        """
        if not self._digests:
            return caller_of_address(request.client.host if request.client else "")
        shown = request.headers.get("x-api-key")
        if shown is None:
            scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
            shown = credentials.strip() if scheme.lower() == "bearer" else ""
        digest = _digest(shown)
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        if not any(matches):
            self._metrics.rejected.labels("key").inc()
            raise ApiKeyRequired("This service needs an API key: send it as X-API-Key or as Authorization: Bearer.")
        return digest.hex()[:16]

    def charge(self, caller: str, pictures: int = 1) -> None:
        """Count pictures of ``caller``. Raises RateLimited."""
        try:
            self._rate_limit.take(caller, pictures)
        except RateLimited:
            self._metrics.rejected.labels("rate").inc()
            raise


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


class RateLimit:
    """A token bucket a caller: ``per_minute`` at once, refilled evenly. 0: no limit."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        #: Caller to what is left, and when that was so; quiet for longest first.
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, caller: str, cost: int = 1) -> None:
        """Count ``cost`` pictures. Raises RateLimited, with the seconds until there is enough."""
        if not self._per_minute:
            return
        now = self._clock()
        left, since = self._buckets.pop(caller, (float(self._per_minute), now))
        left = min(left + (now - since) * self._per_minute / 60, self._per_minute)
        # More than ever fits costs all there is: the request is not refused for ever.
        cost = min(cost, self._per_minute)
        is_allowed = left >= cost
        self._buckets[caller] = (left - cost if is_allowed else left, now)
        if len(self._buckets) > MAX_CALLERS:
            self._buckets.popitem(last=False)
        if not is_allowed:
            wait_s = math.ceil((cost - left) * 60 / self._per_minute)
            raise RateLimited(f"At most {self._per_minute} pictures a minute: try again in {wait_s} s.", wait_s)


@lru_cache(MAX_CALLERS)
def caller_of_address(address: str) -> str:
    """The caller behind an address: an IPv4 address, or the network of an IPv6 one."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:  # a Unix socket, or what a trusted proxy wrote
        return address
    if parsed.version == 4:
        return address
    return str(ipaddress.ip_network((address, IPV6_PREFIX), strict=False))


class Admission:
    """Refuses at once what would only wait: a context, in which requests with pictures are at work.

    One whose body is still arriving takes no place, so that whoever sends slowly takes none from others; its bytes are
    counted instead.
    """

    def __init__(self, max_in_flight: int, max_arriving_bytes: int, metrics: WebMetrics) -> None:
        self._max_in_flight = max_in_flight
        self._max_arriving_bytes = max_arriving_bytes
        self._metrics = metrics
        self._in_flight = self._arriving_bytes = 0
        metrics.in_flight.set_function(lambda: self._in_flight)

    def __enter__(self) -> None:
        """Raises Overloaded where there are too many."""
        if self._in_flight >= self._max_in_flight:
            self._refuse()
        self._in_flight += 1

    def __exit__(self, *_: object) -> None:
        self._in_flight -= 1

    @contextmanager
    def arriving(self) -> Iterator[Callable[[int], None]]:
        """While the body of a request at work arrives: what counts its bytes. Both raise Overloaded."""
        counted = 0

        def count(size: int) -> None:
            nonlocal counted
            counted += size
            self._arriving_bytes += size
            if self._arriving_bytes > self._max_arriving_bytes:
                self._refuse()

        self._in_flight -= 1
        try:
            yield count
        finally:
            self._in_flight += 1
            self._arriving_bytes -= counted
        if self._in_flight > self._max_in_flight:
            self._refuse()

    def _refuse(self) -> None:
        self._metrics.rejected.labels("overload").inc()
        raise Overloaded("Too many requests are in progress: try again in a moment.")


class _Header(io.BytesIO):
    """A picture, of which as much can be read as headers need: all of its boxes or comments would take seconds, in
    which nobody else is answered.
    """

    def __init__(self, picture: bytes) -> None:
        super().__init__(picture)
        self._reads = self._bytes = 0

    def read(self, size: int | None = -1) -> bytes:
        """Raises ValueError beyond ``MAX_HEADER_READS`` or ``MAX_HEADER_BYTES``."""
        content = super().read(size)
        self._reads += 1
        self._bytes += len(content)
        if self._reads > MAX_HEADER_READS or self._bytes > MAX_HEADER_BYTES:
            raise ValueError("its size stands too far behind")
        return content


def check_pixels(picture: bytes, max_pixels: int) -> int:
    """How many it has; nothing is decoded. Raises ImageTooLarge for more than ``max_pixels``.

    Where the header has no size, or too far behind, it is 0, and the picture left to the handler, which says what is
    wrong with it.
    """
    width, height = imagesize.get(_Header(picture), exif_rotation=False)
    pixels = int(width * height) if width > 0 and height > 0 else 0
    if pixels > max_pixels:
        raise ImageTooLarge(
            f"The picture has {pixels:,} pixels, more than the {max_pixels:,} allowed: send a smaller one."
        )
    return pixels
