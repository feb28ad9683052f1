"""How much a request hurries: what its headers say of the time that it has, and of others that it lets go first."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from marserve.handler.resnet18.errors import InvalidParameter
from marserve.web.settings import WebSettings

#: Milliseconds after which the answer is worth nothing to the caller.
TIMEOUT_HEADER = "x-request-timeout-ms"
#: ``bulk``: only in the gaps that interactive requests leave.
PRIORITY_HEADER = "x-priority"
PRIORITIES = ("interactive", "bulk")
#: Digits of the longest time that is read: 31 years.
MAX_DIGITS = 12

#: The headers as OpenAPI describes them.
PARAMETERS: list[dict[str, Any]] = [
    {
        "name": "X-Request-Timeout-Ms",
        "in": "header",
        "description": "Milliseconds after which the answer is worth nothing; what would come later is refused.",
        "schema": {"type": "integer", "minimum": 1},
    },
    {
        "name": "X-Priority",
        "in": "header",
        "description": "bulk: the pictures of others go first.",
        "schema": {"type": "string", "enum": [*PRIORITIES], "default": PRIORITIES[0]},
    },
]


def stays() -> bool:
    """``has_left`` of whoever cannot leave."""
    return False


@dataclass(frozen=True)
class Urgency:
    #: Who shares the workers fairly with other callers: an API key's name, or an address; empty: this service itself.
    caller: str
    #: When the answer is worth nothing any more, by ``time.monotonic()``.
    give_up: float
    is_bulk: bool = False
    #: Whether nobody waits for the answer any more. Called when the picture could be sent.
    has_left: Callable[[], bool] = stays


def read_urgency(
    headers: Mapping[str, str], caller: str, settings: WebSettings, has_left: Callable[[], bool] = stays
) -> Urgency:
    """What ``headers``, whose names may have any case, say of a request that has just arrived. Raises InvalidParameter.

    A caller can give the service less time than the operator's ``request_deadline_s``, and never more.
    """
    timeout_s = min(_read_timeout_s(headers.get(TIMEOUT_HEADER)), settings.request_deadline_s)
    priority = headers.get(PRIORITY_HEADER)
    if priority is not None and priority not in PRIORITIES:
        raise InvalidParameter(f"X-Priority must be one of {' and '.join(PRIORITIES)}.")
    return Urgency(caller, time.monotonic() + timeout_s, priority == "bulk", has_left)


def _read_timeout_s(value: str | None) -> float:
    if value is None:
        return math.inf
    if not (value.isascii() and value.isdecimal() and len(value) <= MAX_DIGITS and int(value)):
        raise InvalidParameter("X-Request-Timeout-Ms must be a whole number of milliseconds, 1 or more.")
    return int(value) / 1000
