"""What every request for work must pass before anything of its body is read."""

from __future__ import annotations

from fastapi import Request

from marserve.web.errors import ApiKeyRequired, RateLimited
from marserve.web.metrics import Metrics
from marserve.web.protection.api_keys import ApiKeys
from marserve.web.protection.rate_limit import RateLimit, caller_of_address


class Guard:
    """Checks keys and rates."""

    def __init__(self, api_keys: ApiKeys, rate_limit: RateLimit, metrics: Metrics) -> None:
        self._api_keys = api_keys
        self._rate_limit = rate_limit
        self._metrics = metrics

    def check_key(self, request: Request) -> str:
        """The caller. Raises ApiKeyRequired."""
        if not self._api_keys.are_required:
            return caller_of_address(request.client.host if request.client else "")
        caller = self._api_keys.identify(request.headers)
        if caller is None:
            self._metrics.rejected.labels("key").inc()
            raise ApiKeyRequired("This service needs an API key: send it as X-API-Key or as Authorization: Bearer.")
        return caller

    def charge(self, caller: str, pictures: int = 1) -> None:
        """Count pictures of ``caller``. Raises RateLimited."""
        try:
            self._rate_limit.take(caller, pictures)
        except RateLimited:
            self._metrics.rejected.labels("rate").inc()
            raise


async def require_key(request: Request) -> None:
    """For routes that read: the key."""
    request.state.caller = request.app.state.services.guard.check_key(request)


async def require_key_and_rate(request: Request) -> None:
    """For routes that take a picture: the key and the rate."""
    guard: Guard = request.app.state.services.guard
    request.state.caller = guard.check_key(request)
    guard.charge(request.state.caller)
