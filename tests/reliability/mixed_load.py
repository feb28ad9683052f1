"""What a day brings, at a steady rate: pictures of many formats and sizes, the same ones again, and unreadable ones.

The load is open: a request goes out when it is due, whether others are answered or not, and its time counts from then.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any

import aiohttp
import requests
from PIL import Image

from tests.e2e.serving import ANSWER_S
from tests.e2e.steady_load import SECOND
from tests.reliability.crowd import DEADLINE_S, PICTURES, SLACK_S, Answer, Known, Outcome, beside, judged

#: Of a hundred requests; the rest are new pictures. An unreadable one costs little, a repeated one nothing.
REPEATED, UNREADABLE = 15, 10
#: Requests that may wait at a time; the service refuses long before.
MOST_WAITING = 512
#: Format and longest side of the pictures: thumbnails, what the web has, and photographs.
KINDS = (
    ("JPEG", 96), ("JPEG", 500), ("JPEG", 2400), ("PNG", 64), ("PNG", 640), ("WEBP", 320), ("WEBP", 1200),
    ("GIF", 200), ("BMP", 128), ("TIFF", 256),
)  # fmt: skip


@dataclass(frozen=True)
class Unreadable:
    """Something that is no picture, and the refusal that it gets."""

    content: bytes
    status: int
    body: Mapping[str, Any]

    @classmethod
    def learned(cls, url: str, content: bytes) -> Unreadable:
        answer = requests.post(url, data=content, timeout=ANSWER_S)
        assert 400 <= answer.status_code < 500, f"{answer.status_code} {answer.text}"
        return cls(content, answer.status_code, answer.json())


def pictures() -> list[bytes]:
    """The examples in each of ``KINDS``."""
    made = []
    for number, (kind, side) in enumerate(KINDS):
        with Image.open(PICTURES[number % len(PICTURES)]) as opened:
            picture = opened.convert("RGB")
        picture = picture.resize((side, round(side * picture.height / picture.width)))
        file = BytesIO()
        picture.save(file, kind)
        made.append(file.getvalue())
    return made


def unreadable() -> list[bytes]:
    """What people send by mistake, and what attackers send."""
    whole = PICTURES[0].read_bytes()
    bomb = BytesIO()
    Image.new("1", (30_000, 30_000)).save(bomb, "PNG")
    return [b"", b"no picture", b"%PDF-1.7\n", whole[:200], b'{"picture": 1}', b"\x00" * 5000, bomb.getvalue()]


class MixedLoad:
    """Sends at ``rate`` a second, from a thread, and checks each answer; the second version's labels say so."""

    def __init__(self, web: str) -> None:
        self.url = f"{web}/classify"
        self.rate = 1.0
        #: The latest; ``take`` has them.
        self._answers: deque[Answer] = deque()
        self._known = [Known.learned(self.url, picture) for picture in pictures()]
        self._unreadable = [Unreadable.learned(self.url, content) for content in unreadable()]
        # Bytes after a picture's end mean nothing, but make another picture of it for the cache.
        for known in self._known:
            answer = requests.post(self.url, data=known.picture + b"1", timeout=ANSWER_S)
            assert known.is_answered_by(answer.json()), answer.text
        self._numbers = itertools.count()

    def take(self) -> list[Answer]:
        """The answers since this was asked last."""
        taken = []
        while self._answers:
            taken.append(self._answers.popleft())
        return taken

    def capacity(self, seconds: float, connections: int = 16) -> float:
        """Requests of this mix a second that are answered where each connection sends the next at once."""

        async def measure() -> float:
            async with _session() as session:
                begin = time.monotonic()
                chance = random.Random(1)  # noqa: S311 - a schedule
                count = 0

                async def keep_sending() -> None:
                    nonlocal count
                    while time.monotonic() < begin + seconds:
                        await self._send(session, chance, time.monotonic())
                        count += 1

                await asyncio.gather(*(keep_sending() for _ in range(connections)))
                return count / (time.monotonic() - begin)

        return asyncio.run(measure())

    @contextmanager
    def running(self, rate: float) -> Iterator[MixedLoad]:
        """Requests are sent inside the block, ``rate`` a second."""
        self.rate = rate
        with beside(self._send_all, "mixed load"):
            yield self

    async def _send_all(self, end: asyncio.Event) -> None:
        chance = random.Random(2)  # noqa: S311 - a schedule
        tasks: set[asyncio.Task[None]] = set()
        async with _session() as session:
            due = time.monotonic()
            while not end.is_set():
                # Many callers who know nothing of each other: a Poisson process.
                due += chance.expovariate(self.rate)
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                if len(tasks) < MOST_WAITING:
                    task = asyncio.create_task(self._send(session, chance, due))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                else:
                    # Where the service hangs, those that wait tell so.
                    self._answers.append(Answer("overload", due, due, f"not sent: {MOST_WAITING} others wait"))
            await asyncio.gather(*tasks)

    async def _send(self, session: aiohttp.ClientSession, chance: random.Random, due: float) -> None:
        which = chance.randrange(100)
        expected: Known | Unreadable
        if which < UNREADABLE:
            expected = chance.choice(self._unreadable)
            content = expected.content
        else:
            expected = chance.choice(self._known)
            content = expected.picture
            if which >= UNREADABLE + REPEATED:
                content += str(next(self._numbers)).encode()
        outcome: Outcome = "odd"
        told, from_cache = "", False
        try:
            async with session.post(self.url, data=content) as reply:
                body = await reply.json(content_type=None)
                told = str(reply.status)
                from_cache = reply.headers.get("X-Cache") == "hit"
                if isinstance(expected, Known):
                    known = _second(expected) if reply.headers.get("X-Model-Version") == "2.0" else expected
                    outcome = judged(known, reply.status, reply.headers.get("Retry-After"), body)
                elif (reply.status, body) == (expected.status, expected.body):
                    outcome = "right"
                elif reply.status == 503 and "Retry-After" in reply.headers:
                    outcome = "overload"
                if outcome in {"wrong", "odd"}:
                    told += f" {str(body)[:300]}"
        except asyncio.TimeoutError:  # of Python 3.10, a class of its own
            outcome, told = "hung", "no answer in time"
        except aiohttp.ClientConnectionError:
            outcome, told = "gone", "refused or reset"
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            told = repr(exc)
        # Only what a worker computed has a latency that says something.
        is_computed = isinstance(expected, Known) and not from_cache
        self._answers.append(Answer(outcome, due, time.monotonic(), told, from_cache=not is_computed))


def _session() -> aiohttp.ClientSession:
    timeout = aiohttp.ClientTimeout(total=DEADLINE_S + SLACK_S)
    headers = {"Content-Type": "application/octet-stream"}
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout, headers=headers)


def _second(known: Known) -> Known:
    """What the second version answers."""
    return replace(
        known, predictions=[(number, f"{SECOND}{label}", share) for number, label, share in known.predictions]
    )
