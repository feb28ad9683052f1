"""What the web service owes its callers when there are more of them than it can serve: experiments on a running stack.

``test_dispatching.py`` runs each for seconds, ``python -m tests.e2e.endurance`` for as long as it takes to believe it.
Callers are told apart by X-Forwarded-For, so the stack must trust 127.0.0.1 (``SETTINGS``).
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import aiohttp
import requests
from prometheus_client.samples import Sample

from marserve.torchserve.metrics import read_samples
from tests.e2e.serving import ANSWER_S, Stack, wait_for
from tests.support import CAT

MODEL = "resnet18"
#: Every picture is computed, and 300 callers may wait as long as they like.
SETTINGS = {
    "MARSERVE_CACHE_MAX_ENTRIES": "0",
    "MARSERVE_TRUSTED_PROXIES": "127.0.0.1",
    "MARSERVE_MAX_IN_FLIGHT": "320",
    "MARSERVE_REQUEST_DEADLINE_S": "60",
}
BULK = {"X-Priority": "bulk"}
#: What kills the worker that meets it (``edited_to_die``).
KILLER = b"this picture kills its worker"

_numbers = itertools.count()


def new_picture() -> bytes:
    """The example picture as nobody sent it before: bytes after a JPEG's end mean nothing."""
    return CAT.read_bytes() + str(next(_numbers)).encode()


def edited_to_die(files: dict[str, bytes]) -> None:
    """Have an archive's worker end at once when it is given ``KILLER``, alone or among others."""
    # The file ends within its class.
    files["resnet18_handler.py"] += f"""
    def handle(self, data, context):
        for fields in data:
            if any(isinstance(value, bytes | bytearray) and {KILLER!r} in value for value in fields.values()):
                __import__("os")._exit(1)
        return super().handle(data, context)
""".encode()


def send_killers(
    stack: Stack, workers: int, *, times: int, progress: Callable[[int], None] = lambda _: None
) -> list[int]:
    """What each of ``times`` deadly pictures is answered; the next one comes when all ``workers`` are back."""
    statuses = []
    for number in range(times):
        body = CAT.read_bytes() + KILLER + str(next(_numbers)).encode()
        statuses.append(
            requests.post(f"{stack.web}/classify?model={MODEL}", data=body, timeout=2 * ANSWER_S).status_code
        )
        wait_for(lambda: stack.described(MODEL).ready_workers == workers)
        progress(number + 1)
    return statuses


@dataclass(frozen=True)
class Reply:
    """What a request came to; times by time.monotonic()."""

    status: int
    sent_at: float
    answered_at: float
    retry_after: str | None = None

    @property
    def seconds(self) -> float:
        return self.answered_at - self.sent_at


@dataclass
class Caller:
    """Somebody with an address of their own, and connections that are kept."""

    web: str
    address: str
    session: aiohttp.ClientSession
    #: In the order in which they arrived here.
    replies: list[Reply] = field(default_factory=list)

    async def send(self, headers: Mapping[str, str] | None = None, picture: bytes | None = None) -> Reply:
        sent_at = time.monotonic()
        async with self.session.post(
            f"{self.web}/classify?model={MODEL}",
            data=new_picture() if picture is None else picture,
            headers={"X-Forwarded-For": self.address, "Content-Type": "application/octet-stream", **(headers or {})},
        ) as answer:
            await answer.read()
            reply = Reply(answer.status, sent_at, time.monotonic(), answer.headers.get("Retry-After"))
        self.replies.append(reply)
        return reply

    @asynccontextmanager
    async def flooding(self, connections: int, headers: Mapping[str, str] | None = None) -> AsyncIterator[Caller]:
        """Each of ``connections`` sends the next picture when the last is answered, or refused and waited for."""
        ended = asyncio.Event()

        async def keep_sending() -> None:
            while not ended.is_set():
                reply = await self.send(headers)
                if reply.status != requests.codes.ok:
                    with suppress(asyncio.TimeoutError):
                        await asyncio.wait_for(ended.wait(), int(reply.retry_after or 1))

        tasks = [asyncio.create_task(keep_sending()) for _ in range(connections)]
        try:
            while len(self.replies) < connections:  # the queue is as long as it gets
                await asyncio.sleep(0.01)
            yield self
        finally:
            ended.set()
            await asyncio.gather(*tasks)


@asynccontextmanager
async def caller(stack: Stack, address: str) -> AsyncIterator[Caller]:
    """A caller from ``address``, as a proxy reports it."""
    timeout = aiohttp.ClientTimeout(total=2 * ANSWER_S)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        yield Caller(stack.web, address, session)


def percentile(rising: Sequence[float], percent: int) -> float:
    """The smallest value that ``percent`` of them do not exceed."""
    return rising[max(0, -(-len(rising) * percent // 100) - 1)]


@dataclass(frozen=True)
class Shared:
    """How a caller fared beside others."""

    #: Seconds of its answers, alone and beside the flood, rising.
    alone_s: list[float]
    beside_s: list[float]
    #: For each of its requests beside the flood: answers that others got before it did.
    overtaken_by: list[int]
    #: The flood's.
    flood_statuses: Counter[int]
    flood_per_s: float


async def share(
    stack: Stack,
    *,
    connections: int,
    requests_alone: int,
    requests_beside: int,
    pause_s: float,
    flood_headers: Mapping[str, str] | None = None,
    same_caller: bool = False,
) -> Shared:
    """One caller sends a picture every ``pause_s``, first alone and then beside the flood of another."""
    flooding = "192.0.2.1" if same_caller else "192.0.2.2"
    async with caller(stack, "192.0.2.1") as modest, caller(stack, flooding) as other:
        for _ in range(requests_alone):
            await modest.send()
            await asyncio.sleep(pause_s)
        alone = [reply.seconds for reply in modest.replies]
        modest.replies.clear()
        overtaken_by = []
        async with other.flooding(connections, flood_headers):
            began, before = time.monotonic(), len(other.replies)
            for _ in range(requests_beside):
                answered = len(other.replies)
                await modest.send()
                overtaken_by.append(len(other.replies) - answered)
                await asyncio.sleep(pause_s)
            rate = (len(other.replies) - before) / (time.monotonic() - began)
        assert {reply.status for reply in modest.replies} == {requests.codes.ok}
        beside = [reply.seconds for reply in modest.replies]
        statuses = Counter(reply.status for reply in other.replies)
        return Shared(sorted(alone), sorted(beside), overtaken_by, statuses, rate)


@dataclass(frozen=True)
class Left:
    """What became of pictures whose callers did not wait."""

    answered: int
    left: int
    #: Pictures that workers counted.
    computed: int
    #: What the web service says that it computed for nobody.
    in_vain: float


async def leave(stack: Stack, *, connections: int, requests_each: int, share_that_leaves: float) -> Left:
    """Callers of whom some close their connection while they wait, at random."""
    chance = random.Random(13)  # noqa: S311 - no secret
    before = read_counts(stack)
    counts: Counter[str] = Counter()
    async with caller(stack, "192.0.2.1") as asking:
        usual_s = (await asking.send()).seconds * connections / 8

        async def keep_asking() -> None:
            for _ in range(requests_each):
                if chance.random() >= share_that_leaves:
                    assert (await asking.send()).status == requests.codes.ok
                    counts["answered"] += 1
                    continue
                try:
                    await asyncio.wait_for(asking.send(), chance.uniform(0, usual_s))
                    counts["answered"] += 1
                except asyncio.TimeoutError:
                    counts["left"] += 1  # aiohttp has closed the connection

        await asyncio.gather(*(keep_asking() for _ in range(connections)))
        await settle(asking)
    after = read_counts(stack)
    return Left(
        counts["answered"] + 3,
        counts["left"],
        int(after["computed"] - before["computed"]),
        after["in vain"] - before["in vain"],
    )


async def leave_at_once(stack: Stack, *, stay: int, leave: int) -> Left:
    """``leave`` callers go away while ``stay`` others are before them."""
    before = read_counts(stack)
    async with caller(stack, "192.0.2.1") as asking:
        staying = [asyncio.create_task(asking.send()) for _ in range(stay)]
        await asyncio.sleep(0.05)
        leaving = [asyncio.create_task(asking.send()) for _ in range(leave)]
        await asyncio.sleep(0.1)
        for task in leaving:
            task.cancel()
        await asyncio.gather(*staying)
        await asyncio.gather(*leaving, return_exceptions=True)
        await settle(asking)
    after = read_counts(stack)
    statuses = Counter(reply.status for reply in asking.replies)
    return Left(
        statuses[requests.codes.ok],
        leave - (len(asking.replies) - stay - 2),
        int(after["computed"] - before["computed"]),
        after["in vain"] - before["in vain"],
    )


async def settle(asking: Caller) -> None:
    """Two more pictures, behind all that may still be at work: the second has workers report what came before."""
    await asking.send()
    await asyncio.sleep(0.5)
    await asking.send()


def read_counts(stack: Stack) -> dict[str, float]:
    """Pictures that the workers of the model have computed, and for nobody, since the start."""
    workers = samples(stack.metrics)
    web = samples(f"{stack.web}/metrics")
    return {
        "computed": total(workers, "handler_pictures_total", ModelName=MODEL),
        "in vain": total(web, "web_computed_in_vain_total", given_up="before_sending"),
    }


def samples(url: str) -> list[Sample]:
    return read_samples(requests.get(url, timeout=ANSWER_S).text)


def total(found: Sequence[Sample], name: str, **labels: str) -> float:
    return sum(sample.value for sample in found if sample.name == name and labels.items() <= sample.labels.items())


@dataclass(frozen=True)
class InTime:
    """Requests with a deadline, from more callers than can be served within it."""

    deadline_s: float
    statuses: Counter[int]
    #: Seconds of the answers with 200, rising.
    accepted_s: list[float]
    #: Refusals whose Retry-After is no whole number of 1 or more.
    untruthful: int
    #: Those that were sent again after that time at the same load, and of these the accepted ones.
    sent_again: int
    accepted_again: int

    @property
    def late(self) -> int:
        return sum(seconds > self.deadline_s for seconds in self.accepted_s)


async def hurry(stack: Stack, *, connections: int, deadline_s: float, seconds: float) -> InTime:
    """``connections`` ask for an answer within ``deadline_s`` each, and come back when they are told to."""
    headers = {"X-Request-Timeout-Ms": str(round(deadline_s * 1000))}
    end = time.monotonic() + seconds
    sent_again = accepted_again = 0
    async with caller(stack, "192.0.2.1") as asking:
        for _ in range(3):  # service times are known
            await asking.send()
        asking.replies.clear()

        async def keep_asking() -> None:
            nonlocal sent_again, accepted_again
            was_refused = False
            while time.monotonic() < end:
                reply = await asking.send(headers)
                is_accepted = reply.status == requests.codes.ok
                sent_again += was_refused
                accepted_again += was_refused and is_accepted
                was_refused = not is_accepted
                if was_refused:
                    await asyncio.sleep(int(reply.retry_after or 1))

        await asyncio.gather(*(keep_asking() for _ in range(connections)))
    refusals = [reply for reply in asking.replies if reply.status == requests.codes.unavailable]
    return InTime(
        deadline_s,
        Counter(reply.status for reply in asking.replies),
        sorted(reply.seconds for reply in asking.replies if reply.status == requests.codes.ok),
        sum(not (reply.retry_after or "").isdecimal() or int(reply.retry_after or 0) < 1 for reply in refusals),
        sent_again,
        accepted_again,
    )
