"""Raw sockets against a stack that others use: what is sent, what comes back, and how long a connection lasts."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from marserve.system.waiting import wait_until
from tests.reliability.hostile.bodies import NONSENSE, form_body, json_body, picture, protocol_body
from tests.reliability.table import Row
from tests.reliability.under_load import MODEL, UnderLoad, kind_of
from tests.support import CAT

#: Seconds in which whatever was sent must be answered, or its connection closed: the service's longest deadlines are
#: 30 s for a body and as much for whoever takes no answer, and the machine is busy.
PATIENCE_S = 75.0
#: Seconds in which an answer must begin: the service's deadline is 10. One that waits for the rest of a request is
#: waited for no longer than ``QUIET_S``: that it is closed in time is another row's concern.
ANSWER_S, QUIET_S = 15.0, 1.0
#: Connections at once.
AT_ONCE = 24
#: What an overloaded service may say.
OVERLOAD = {503, 504}
#: By how much resident memory may grow: allocators keep some of what was freed.
GROWTH, SLACK_BYTES = 0.05, 40_000_000
#: Seconds for the answers to what was sent last.
SETTLE_S = 3.0
#: Seconds until memory is to be as before: a worker may still be at what nobody waits for any more, and the web service
#: looks every 10 s for what it can give back.
BACK_S = 30.0
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
#: What stands in files to which no address leads: users of the machine, code.
OF_FILES = (b"root:x:0:", b"from __future__ import annotations")
#: How TorchServe itself, and no worker, refuses a form that it cannot read; the web service sends it none.
OF_TORCHSERVE = re.compile(
    rb'HTTP/1\.1 500 .*"type": "(ErrorDataDecoder|StringIndexOutOfBounds|IllegalArgument)Exception"', re.DOTALL
)
LENGTH = re.compile(rb"(?i)\r\ncontent-length: (\d+)\r\n")
HEADS = re.compile(rb"HTTP/1\.1 \d{3} .*?\r\n\r\n", re.DOTALL)


@dataclass
class Attack:
    """Connections to one port, and what became of them."""

    port: int
    outcomes: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)
    longest_s: float = 0.0

    async def all(self, given: Iterable[Callable[[], Awaitable[str]]], at_once: int = AT_ONCE) -> None:
        """Run all of ``given``, some at a time; each answers what it saw."""
        waiting = iter(given)

        async def work() -> None:
            for one in waiting:
                began = time.monotonic()
                try:
                    seen = await asyncio.wait_for(one(), PATIENCE_S)
                except asyncio.TimeoutError:  # of Python 3.10, a class of its own
                    seen = "hung"
                    self.complaints.append(f"hung for {PATIENCE_S:.0f} s")
                except OSError:
                    seen = "reset"
                self.longest_s = max(self.longest_s, time.monotonic() - began)
                self.outcomes[seen] += 1

        await asyncio.gather(*[work() for _ in range(at_once)])

    async def send(self, *pieces: bytes, is_open: bool = False) -> str:
        """What comes back for bytes as they are, until the connection is closed, or nothing more comes.

        ``is_open`` says that the request may lack its end.
        """
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            answer = b""
            try:
                while piece := await asyncio.wait_for(reader.read(65536), QUIET_S if answer or is_open else ANSWER_S):
                    answer += piece
            except asyncio.TimeoutError:  # of Python 3.10, a class of its own
                pass
            except OSError:
                if not _is_whole(answer):  # TorchServe resets each connection that it has answered with an error
                    raise
            return self.judge(pieces, answer)
        finally:
            writer.close()

    def judge(self, sent: Sequence[bytes], answer: bytes) -> str:
        statuses = [int(status) for status in STATUS.findall(answer)]
        if OF_TORCHSERVE.search(answer):
            return f"{statuses[-1]} of TorchServe's own reader of forms"
        wrong = [status for status in statuses if status >= 500 and status not in OVERLOAD]
        if wrong:
            self.complaints.append(f"{wrong[0]} for {b''.join(sent)[:200]!r}: {answer[-200:]!r}")
        if any(b"x-injected" in head.lower() for head in HEADS.findall(answer)):
            self.complaints.append(f"a header was injected by {b''.join(sent)[:200]!r}")
        if any(content in answer for content in OF_FILES):
            self.complaints.append(f"a file was shown to {b''.join(sent)[:200]!r}")
        return str(statuses[-1]) if statuses else "no answer"

    def __str__(self) -> str:
        seen = ", ".join(f"{count:,} × {what}" for what, count in sorted(self.outcomes.items()))
        return f"{seen}; longest {self.longest_s:.0f} s"


def attack(
    tested: UnderLoad, name: str, strike: Callable[[Attack], Coroutine[Any, Any, None]], *, port: int | None = None
) -> Row:
    """What ``strike`` does to the service and those beside; memory, workers and files must be as before."""
    attacked = Attack(port or tested.stack.ports.web_port)
    workers, before = tested.worker_pids(), memory(tested)

    def at_once() -> str:
        asyncio.run(strike(attacked))
        time.sleep(SETTLE_S)
        return f"of the hostile: {attacked}"

    row = tested.inflict(name, at_once, lasts=True, within_s=PATIENCE_S)
    ended = time.monotonic()
    wait_until(lambda: not _grown(before, memory(tested)), BACK_S, poll_s=1.0)
    back_s = time.monotonic() - ended
    after = memory(tested)
    complaints = list(dict.fromkeys(attacked.complaints))[:3]
    if tested.worker_pids() != workers:
        complaints.append("a worker died")
    complaints += [
        f"memory of the {kind} grows from {before[kind] / 1e6:.0f} to {after[kind] / 1e6:.0f} MB"
        for kind in _grown(before, after)
    ]
    seen = row.callers_saw + (f". **{'; '.join(complaints)}**" if complaints else "")
    lost = "memory " + ", ".join(
        f"{kind} {size / 1e6:.0f} → {after[kind] / 1e6:.0f} MB" for kind, size in before.items()
    )
    if back_s >= 1:
        lost += f", after {back_s:.0f} s"
    return Row(row.name, seen, row.seconds_until_healthy, lost, holds=row.holds and not complaints)


def _is_whole(answer: bytes) -> bool:
    head, _, body = answer.partition(b"\r\n\r\n")
    length = LENGTH.search(head + b"\r\n")
    return length is not None and len(body) >= int(length[1])


def memory(tested: UnderLoad) -> Counter[str]:
    """Resident bytes of web service, workers and Java; of the largest worker, since they take turns."""
    found: Counter[str] = Counter()
    for process in tested.stack.processes():
        kind = kind_of(process.cmdline())
        if kind in ("web service", "worker", "Java"):
            found[kind] = max(found[kind], process.memory_info().rss)
    return found


def _grown(before: Mapping[str, int], after: Mapping[str, int]) -> list[str]:
    """The kinds of processes that have kept memory; Java's heap grows to its limit, and is shown only."""
    kinds = [kind for kind in before if kind != "Java"]
    return [kind for kind in kinds if after[kind] > before[kind] * (1 + GROWTH) + SLACK_BYTES]


def post(path: str, body: bytes, *headers: str) -> bytes:
    head = [f"POST {path} HTTP/1.1", "Host: here", "Connection: close", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*head, "", ""]).encode("latin-1", "replace") + body


#: Headers with which two readers of a connection come to see different requests.
FRAMINGS = (
    b"Content-Length: 4\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nContent-Length: 4",
    b"Content-Length: 4\r\nContent-Length: 5",
    b"Content-Length: +4",
    b"Content-Length: 4, 4",
    b"Content-Length: 0x4",
    b"Content-Length: -4",
    b"Content-Length: 4\x0b",
    b"Content-Length: 18446744073709551620",
    b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding : chunked",
    b" Transfer-Encoding: chunked",
    b"Transfer-Encoding:\x0bchunked",
    b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding\x00: chunked",
    b"X: y\nTransfer-Encoding: chunked",
    b"X: y\rTransfer-Encoding: chunked",
    b"X: y\r\n Transfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    b"Host: elsewhere",
    b"Expect: 100-continue",
    b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings",
    b"Connection: close, keep-alive",
    b"Transfer-Encoding: chunked",
)
CHUNKS = (
    b"4\r\nabcd\r\n0\r\n\r\n",
    b"4;x=y\r\nabcd\r\n0\r\n\r\n",
    b"-4\r\nabcd\r\n0\r\n\r\n",
    b"0x4\r\nabcd\r\n0\r\n\r\n",
    b"4\nabcd\n0\n\n",
    b"ffffffffffffffff4\r\nabcd\r\n",
    b"4\r\nabcdef\r\n0\r\n\r\n",
    b"0\r\n\r\n",
    b"4\r\nabcd\r\n0\r\nX-Injected: yes\r\n\r\n",
    b"4 \r\nabcd\r\n0\r\n\r\n",
    b"4;\nabcd\r\n0\r\n\r\n",
)
LINES = (
    b"POST /predict HTTP/1.1",
    b"GET / HTTP/1.1",
    b"POST  /predict  HTTP/1.1",
    b"POST /predict HTTP/1.0",
    b"POST /predict HTTP/9.9",
    b"GET http://127.0.0.1:8081/models HTTP/1.1",
    b"CONNECT 127.0.0.1:8081 HTTP/1.1",
    b"PRI * HTTP/2.0",
    b"TRACE / HTTP/1.1",
    b"GET /static/../../etc/passwd HTTP/1.1",
    b"GET /static/%2e%2e/%2e%2e/server.py HTTP/1.1",
    b"GET /examples/..%2f..%2fserver.py HTTP/1.1",
    b"GET /%00 HTTP/1.1",
    b"GET /\xff HTTP/1.1",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET / HTTP/1.1\r\nX-Request-ID: a%0d%0aX-Injected: yes",
    b"POST /predictions/resnet18 HTTP/1.1",
    b"POST /models?url=http://127.0.0.1/x.mar HTTP/1.1",
    b"GET /" + b"a" * 70_000 + b" HTTP/1.1",
)
HEADERS = (
    *("X-Request-Timeout-Ms", "X-Priority", "X-Model-Version", "X-Request-ID", "X-API-Key", "Accept", "Origin"),
    *("Content-Type", "Content-Encoding", "X-Top-K", "Explain", "describe"),
)
SMUGGLED = b"GET /metrics HTTP/1.1\r\nHost: here\r\nX-Request-ID: smuggled\r\n\r\n"


def framed(chance: random.Random) -> list[bytes]:
    """A request, or what is nearly one, in one piece or several; another one may hide behind it."""
    line = chance.choice((LINES[0], LINES[0], *LINES))
    headers = [b"Host: here", *chance.sample(FRAMINGS, chance.randrange(3))]
    if chance.random() < 0.1:
        headers += [
            b"X-%d: %b" % (number, b"y" * chance.choice((1, 100, 9000))) for number in range(chance.choice((5, 200)))
        ]
    content = (
        b"\r\n".join([line, *headers, b"", b""])
        + chance.choice((*CHUNKS, b"abcd", b""))
        + chance.choice((SMUGGLED, b""))
    )
    if chance.random() < 0.3:
        place = chance.randrange(len(content))
        content = content[:place] + chance.choice((b"\0", b"\r", b"\n", b"\xff", b" ", b":")) + content[place + 1 :]
    cut = chance.randrange(len(content))
    return [content] if chance.random() < 0.7 else [content[:cut], content[cut:]]


def nonsense(chance: random.Random) -> bytes:
    """A whole request with an impossible parameter, header, name or body."""
    value = str(chance.choice(NONSENSE)).replace("\ud800", "?")[:3000]
    spelled, plain = quote(value), value.replace("\n", "")
    body = chance.choice((CAT.read_bytes()[:5000], picture(chance), b""))
    name = chance.choice(("top_k", "model", "lang", "url", "class_id", "topk", value))
    match chance.randrange(6):
        case 0:
            return post(f"/classify?{quote(name)}={spelled}", body)
        case 1:
            return post("/predict", body, f"{chance.choice(HEADERS)}: {plain}".replace("\r", ""))
        case 2:
            return post(f"/v2/models/{chance.choice((MODEL, spelled, '..%2f..'))}/versions/{spelled}/infer", b"{}")
        case 3:
            kind, content = form_body(chance)
            return post("/predict", content, f"Content-Type: {kind}".replace("\r", "").replace("\n", ""))
        case 4:
            kind, content = json_body(chance)
            return post("/classify", content, f"Content-Type: {kind}")
    length, content = protocol_body(chance)
    given = [f"Inference-Header-Content-Length: {length}"] if length is not None else []
    return post(f"/v2/models/{MODEL}/infer", content, *given)
