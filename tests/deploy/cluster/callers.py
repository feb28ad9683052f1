"""Callers from outside of the cluster, who know what each answer must be."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp

from tests.deploy.cluster.second_archive import SECOND_VERSION
from tests.e2e.steady_load import SECOND
from tests.reliability.crowd import PICTURES, Answer, Known, Outcome, beside, judged

CLIENTS = 16
#: Seconds for a connection to be accepted. Then the other node is tried, as a load balancer does: nothing was sent yet.
CONNECT_S = 1.0
#: Seconds for a whole request, refused connections included, and for the answer alone once it is sent.
DEADLINE_S = 12.0
ANSWER_S = 5.0
#: Seconds before a caller who was refused comes again.
PAUSE_S = 0.1


@dataclass(frozen=True)
class Called(Answer):
    """One request of a caller; ``outcome`` and ``told`` as in an Answer."""

    client: int = 0
    #: When its connection was accepted, by time.monotonic(); 0 if it never was.
    connected_at: float = 0.0
    #: Connections that nobody accepted before.
    redirected: int = 0
    version: str = ""


@dataclass
class Callers:
    """Each sends the next picture when it has its answer: half of them over a connection that they keep, the others
    over a new one each time. They come in by the nodes in turn. A request that was sent is never sent again.
    """

    entries: Sequence[str]
    clients: int = CLIENTS
    answers: list[Called] = field(default_factory=list)
    #: What is right, by version, for each picture.
    known: dict[str, list[Known]] = field(default_factory=dict)

    def learn(self, url: str) -> str:
        """Take what the service at ``url`` answers now for right, and the same with other labels for the second's.

        Returns the version that says so.
        """
        import requests

        known, versions = [], set()
        for path in PICTURES:
            picture = path.read_bytes()
            known.append(Known.learned(f"{url}/classify", picture))
            versions.add(requests.post(f"{url}/classify", data=picture, timeout=ANSWER_S).headers["X-Model-Version"])
        (version,) = versions
        self.known[version] = known
        self.known[SECOND_VERSION] = [
            replace(one, predictions=[(index, f"{SECOND}{label}", share) for index, label, share in one.predictions])
            for one in known
        ]
        return version

    @contextmanager
    def at_work(self, clients: int | None = None) -> Iterator[Callers]:
        """They send inside the block."""
        count = self.clients if clients is None else clients

        async def send(end: asyncio.Event) -> None:
            await asyncio.gather(*(self._keep_sending(client, end) for client in range(count)))

        with beside(send, "callers"):
            yield self

    def since(self, at: float) -> list[Called]:
        """Answers to requests that were not over at that time."""
        return [answer for answer in list(self.answers) if answer.ended_at >= at]

    async def _keep_sending(self, client: int, end: asyncio.Event) -> None:
        connected: dict[str, float] = {}
        trace = aiohttp.TraceConfig()

        async def begin(*_: object) -> None:
            connected.clear()

        async def end_well(*_: object) -> None:
            connected["at"] = time.monotonic()

        trace.on_connection_create_start.append(begin)
        trace.on_connection_create_end.append(end_well)
        keeps = client % 2 == 0
        connector = aiohttp.TCPConnector(limit=1, force_close=not keeps)
        timeout = aiohttp.ClientTimeout(sock_connect=CONNECT_S, sock_read=ANSWER_S)
        entries = itertools.cycle([*self.entries[client // 2 % len(self.entries) :], *self.entries])
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, trace_configs=[trace]) as session:
            entry = next(entries)
            for number in itertools.count(client):
                if not keeps:
                    entry = next(entries)
                if (answer := await self._send(session, client, number, entry, entries, connected)).outcome != "right":
                    await asyncio.wait([asyncio.create_task(end.wait())], timeout=PAUSE_S)
                    entry = next(entries)
                self.answers.append(answer)
                if end.is_set():
                    return

    async def _send(
        self,
        session: aiohttp.ClientSession,
        client: int,
        number: int,
        entry: str,
        entries: Iterator[str],
        connected: dict[str, float],
    ) -> Called:
        which = number % len(PICTURES)
        # Bytes after a JPEG's end mean nothing, but make another picture of it for the cache.
        picture = next(iter(self.known.values()))[which].picture + f"{client} {number} {time.monotonic_ns()}".encode()
        sent_at = time.monotonic()
        outcome: Outcome = "gone"
        told, version, redirected = "nobody accepts a connection", "", 0
        while time.monotonic() - sent_at < DEADLINE_S:
            try:
                async with session.post(
                    f"{entry}/classify", data=picture, headers={"Content-Type": "image/jpeg"}
                ) as reply:
                    content = await reply.json(content_type=None)
                    version = reply.headers.get("X-Model-Version", "")
                    outcome, told = self._judged(which, version, reply.status, reply.headers, content)
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
                redirected += 1
                entry = next(entries)
                await asyncio.sleep(PAUSE_S)
                continue
            except asyncio.TimeoutError:
                outcome, told = "hung", f"no answer in {ANSWER_S:.0f} s"
            except (aiohttp.ClientError, OSError) as exc:
                outcome, told = "gone", f"reset ({type(exc).__name__})"
            except ValueError as exc:
                outcome, told = "odd", f"no JSON: {exc}"
            break
        return Called(
            outcome,
            sent_at,
            time.monotonic(),
            told,
            client=client,
            connected_at=connected.get("at", 0.0),
            redirected=redirected,
            version=version,
        )

    def _judged(
        self, which: int, version: str, status: int, headers: Mapping[str, str], content: Any
    ) -> tuple[Outcome, str]:
        told = str(status)
        if status == 200 and version not in self.known:
            return "wrong", f"200 of version {version!r}"
        right = self.known.get(version) or next(iter(self.known.values()))
        outcome = judged(right[which], status, headers.get("Retry-After"), content)
        return outcome, told + {"wrong": f" with a wrong answer of {version}", "odd": f" {content}"}.get(outcome, "")


def summed_up(answers: Sequence[Called]) -> str:
    """What callers saw, in words."""
    counts = Counter(answer.told for answer in answers)
    good = counts.pop("200", 0)
    parts = [f"{good} of {len(answers)} × 200, right"]
    parts += [f"{count} × {told[:120]}" for told, count in sorted(counts.items())]
    if redirected := sum(answer.redirected for answer in answers):
        parts.append(f"{redirected} connections not accepted and tried by the other node")
    versions = Counter(answer.version for answer in answers if answer.version)
    if len(versions) > 1:
        parts.append(" and ".join(f"{count} by version {version}" for version, count in sorted(versions.items())))
    longest = max((answer.seconds for answer in answers), default=0.0)
    return f"{', '.join(parts)}; longest {longest:.1f} s"
