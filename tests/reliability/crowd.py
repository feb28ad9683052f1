"""Callers that never stop, whatever is done to the service, and know what each answer must be."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import aiohttp
import requests

from tests.e2e.serving import ANSWER_S
from tests.support import REPOSITORY

CLIENTS = 16
REPEATING = 2
#: Seconds after which a caller repeats a picture: the cache answers at once, and the processor is the workers'.
REPEAT_S = 0.1
PICTURES = sorted((REPOSITORY / "examples").glob("*.jpg"))
#: Seconds that each second caller gives the service (``X-Request-Timeout-Ms``); the others take the service's own.
SHORT_DEADLINE_S = 5.0
#: The service's own, by default.
DEADLINE_S = 10.0
#: Seconds beyond its deadline within which an answer must have come all the same: this machine's, which is busy.
SLACK_S = 2.0
#: A caller waits as ``Retry-After`` says, but no longer, so that it is seen when all is well again.
LONGEST_PAUSE_S = 1.0
#: Probabilities of one picture differ in their last digits with the company that it was computed in.
TOLERANCE = 1e-5

Outcome = Literal["right", "wrong", "overload", "gone", "hung", "odd"]


@dataclass(frozen=True)
class Answer:
    """What one request came to; times by time.monotonic()."""

    outcome: Outcome
    sent_at: float
    ended_at: float
    #: The status as text, or what broke.
    told: str
    from_cache: bool = False

    @property
    def seconds(self) -> float:
        return self.ended_at - self.sent_at


@dataclass(frozen=True)
class Known:
    """A picture, and what the undisturbed service says to it."""

    picture: bytes
    model: str
    #: Class id and label with their probability, the most probable first.
    predictions: Sequence[tuple[int, str, float]]

    @classmethod
    def learned(cls, url: str, picture: bytes) -> Known:
        answer = requests.post(url, data=picture, timeout=ANSWER_S)
        assert answer.status_code == requests.codes.ok, answer.text
        content = answer.json()
        return cls(picture, content["model"], _predictions(content))

    def is_answered_by(self, content: Any) -> bool:
        try:
            told = _predictions(content)
            return bool(
                content["model"] == self.model
                and [entry[:2] for entry in told] == [entry[:2] for entry in self.predictions]
                and all(abs(a[2] - b[2]) <= TOLERANCE for a, b in zip(told, self.predictions, strict=True))
            )
        except (KeyError, TypeError):
            return False


def _predictions(content: Any) -> list[tuple[int, str, float]]:
    return [(entry["class_id"], entry["label"], entry["probability"]) for entry in content["predictions"]]


def judged(known: Known, status: int, retry_after: str | None, content: Any) -> Outcome:
    """What an answer to a good picture is worth: an overloaded service may refuse it, and says when to come again."""
    if status == requests.codes.ok:
        return "right" if known.is_answered_by(content) else "wrong"
    may_be_overload = status == requests.codes.gateway_timeout or (
        status == requests.codes.service_unavailable and retry_after is not None
    )
    return "overload" if may_be_overload else "odd"


@contextmanager
def beside(send: Callable[[asyncio.Event], Coroutine[Any, Any, None]], name: str) -> Iterator[None]:
    """``send`` runs in a thread until the block is left, which sets its event. Raises what broke it."""
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def run() -> None:
        end = asyncio.Event()
        started.set_result((asyncio.get_running_loop(), end))
        await send(end)

    with ThreadPoolExecutor(1, name) as threads:
        sending = threads.submit(lambda: asyncio.run(run()))
        loop, end = started.result()
        try:
            yield
        finally:
            with suppress(RuntimeError):  # its loop is closed: it broke before
                loop.call_soon_threadsafe(end.set)
            sending.result()


@dataclass
class Crowd:
    """``CLIENTS`` connections, each of which sends the next picture when it has its answer, in a thread."""

    web: str
    #: So many send the same pictures again and again: their answers come out of the cache.
    repeating: int = REPEATING
    answers: list[Answer] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._url = f"{self.web}/classify"
        self._numbers = itertools.count()
        self._known: list[Known] = []

    @contextmanager
    def at_work(self) -> Iterator[Crowd]:
        """They send inside the block; what is right is what the service answers before."""
        self._known = self._known or [Known.learned(self._url, path.read_bytes()) for path in PICTURES]
        with beside(self._send_all, "crowd"):
            yield self

    def since(self, at: float) -> list[Answer]:
        """Answers to requests that were not over at that time."""
        return [answer for answer in list(self.answers) if answer.ended_at >= at]

    async def _send_all(self, end: asyncio.Event) -> None:
        connector = aiohttp.TCPConnector(limit=0, force_close=False)
        async with aiohttp.ClientSession(connector=connector) as session:
            await asyncio.gather(*(self._keep_sending(session, client, end) for client in range(CLIENTS)))

    async def _keep_sending(self, session: aiohttp.ClientSession, client: int, end: asyncio.Event) -> None:
        for number in itertools.count(client):
            known = self._known[number % len(self._known)]
            # Bytes after a JPEG's end mean nothing, but make another picture of it for the cache.
            picture = known.picture if client < self.repeating else known.picture + str(next(self._numbers)).encode()
            pause_s = await self._send(session, known, picture, SHORT_DEADLINE_S if client % 2 else None)
            if end.is_set():
                return
            if pause_s:
                await asyncio.wait([asyncio.create_task(end.wait())], timeout=pause_s)

    async def _send(
        self, session: aiohttp.ClientSession, known: Known, picture: bytes, deadline_s: float | None
    ) -> float:
        """Send it and note what comes; the seconds after which to go on."""
        headers = {"Content-Type": "image/jpeg"}
        if deadline_s is not None:
            headers["X-Request-Timeout-Ms"] = str(round(deadline_s * 1000))
        timeout = aiohttp.ClientTimeout(total=(deadline_s or DEADLINE_S) + SLACK_S)
        sent_at = time.monotonic()
        pause_s, from_cache, told = 0.0, False, ""
        outcome: Outcome = "odd"
        try:
            async with session.post(self._url, data=picture, headers=headers, timeout=timeout) as reply:
                content = await reply.json(content_type=None)
                told, again = str(reply.status), reply.headers.get("Retry-After")
                from_cache = reply.headers.get("X-Cache") == "hit"
                outcome = judged(known, reply.status, again, content)
                told += {"wrong": " with a wrong answer", "odd": f" {content}"}.get(outcome, "")
                if reply.status != requests.codes.ok:
                    pause_s = min(float(again or 0.1), LONGEST_PAUSE_S)
                elif from_cache:
                    pause_s = REPEAT_S
        except asyncio.TimeoutError:  # of Python 3.10, a class of its own
            outcome, told = "hung", f"no answer in {timeout.total:.0f} s"
        except (aiohttp.ClientError, OSError) as exc:
            outcome, told, pause_s = "gone", "refused or reset", 0.1
            if not isinstance(exc, aiohttp.ClientConnectionError | ConnectionError):
                outcome, told = "odd", repr(exc)
        except ValueError as exc:
            told = f"no JSON: {exc}"
        self.answers.append(Answer(outcome, sent_at, time.monotonic(), told, from_cache))
        return pause_s


def summed_up(answers: Sequence[Answer]) -> str:
    """What callers saw, in words: answers by status, and the longest of all."""
    if not answers:
        return "nothing"
    counts = Counter(answer.told for answer in answers)
    hits = sum(answer.from_cache for answer in answers)
    good = counts.pop("200", 0)
    parts = [f"{good} × 200 ({hits} from the cache)" if hits else f"{good} × 200"]
    parts += [f"{count} × {told[:160]}" for told, count in sorted(counts.items())]
    gone = [answer for answer in answers if answer.outcome == "gone"]
    if gone:
        parts.append(f"nobody there for {gone[-1].ended_at - gone[0].sent_at:.1f} s")
    return f"{', '.join(parts)}; longest {max(answer.seconds for answer in answers):.1f} s"
