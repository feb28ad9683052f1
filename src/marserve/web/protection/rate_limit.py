"""How often each caller may ask."""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable

from marserve.web.errors import RateLimited

#: Callers that are remembered; then the one that was quiet for longest is forgotten, and may ask as if it were new.
MAX_CALLERS = 10_000
#: One person has at least so many bits of IPv6 addresses to choose from.
IPV6_PREFIX = 64


class RateLimit:
    """A token bucket a caller: ``per_minute`` at once, refilled evenly. 0: no limit."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        #: Caller to what is left, and when that was so; quiet for longest first.
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        """Callers that are remembered."""
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


def caller_of_address(address: str) -> str:
    """The caller behind an address: an IPv4 address, or the network of an IPv6 one."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:  # a Unix socket, or what a trusted proxy wrote
        return address
    if parsed.version == 4:
        return address
    return str(ipaddress.ip_network((address, IPV6_PREFIX), strict=False))
