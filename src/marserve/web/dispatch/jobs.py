"""A picture that waits for a worker, the callers who wait for it, and the group in which it is sent."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from marserve.web.dispatch.urgency import Urgency

if TYPE_CHECKING:
    from marserve.web.dispatch.fair_queue import FairQueue

#: Why a picture is not sent: its answer would come too late, its time is over, or nobody waits for it any more.
Reason = Literal["deadline", "expired", "left"]

#: Bytes that take a worker about as long to decode as the network takes for any picture.
BYTES_PER_UNIT = 200_000


class Job:
    """One picture, however many callers wait for the same one."""

    __slots__ = (
        "content",
        "deaths",
        "goes_alone",
        "is_sent",
        "left_at",
        "losses",
        "queue",
        "size_bytes",
        "units",
        "waiters",
        "waits_since",
        "was_lost",
    )

    def __init__(self, content: Any, size_bytes: int, *, goes_alone: bool = False) -> None:
        """``content`` is the driver's. ``goes_alone``: never in one group with others."""
        self.content = content
        self.size_bytes = size_bytes
        #: How much work it is, in pictures of no size: a guess, which the service times are measured by.
        self.units = 1 + size_bytes / BYTES_PER_UNIT
        self.goes_alone = goes_alone
        self.waiters: list[Urgency] = []
        self.waits_since = 0.0
        #: When the last of those who waited gave up.
        self.left_at = math.inf
        #: Where it waits; None once it is sent or dropped.
        self.queue: FairQueue | None = None
        self.is_sent = False
        #: Workers that ended while they worked on it.
        self.deaths = 0
        #: How often TorchServe itself ended meanwhile.
        self.losses = 0
        #: Whether it has waited for TorchServe to come back.
        self.was_lost = False

    @property
    def give_up(self) -> float:
        """When nobody wants the answer any more: never before the last of those who wait."""
        return max((waiter.give_up for waiter in self.waiters), default=-math.inf)

    def has_been_left(self) -> bool:
        return all(waiter.has_left() for waiter in self.waiters)

    def reason_to_drop(self, now: float) -> Reason | None:
        if self.has_been_left():
            return "left"
        return "expired" if self.give_up <= now else None


@dataclass(eq=False)
class Group:
    """What is sent together."""

    jobs: list[Job]
    units: float
    sent_at: float
    #: When its answer is expected.
    done_at: float
    #: Groups on their way when it was sent, itself included.
    company: int
    #: A picture under which a worker ended: it is at no worker together with any other.
    is_suspect: bool = False


#: Called with a job that is not sent, why, and by how many seconds its answer would have been late.
OnDrop = Callable[[Job, Reason, float], None]
