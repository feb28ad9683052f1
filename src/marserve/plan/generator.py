"""Load from one event loop: each request when it is due, or so many at a time; ``load.py`` runs it in a process.

A timer of the kernel is exact to some 0.1 ms (the loop's own knows whole milliseconds), requests were put together
before, and httptools parses the answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import secrets
import ssl
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, cast

from httptools import HttpParserError, HttpResponseParser

from marserve.system.loopback import LOOPBACK

#: Seconds from when it was due until a request is given up: what comes later is of no use to any figure.
GIVE_UP_S = 2.0
#: Connections at a time; more than any server here leaves unanswered within ``GIVE_UP_S``.
MOST_CONNECTIONS = 2048
#: Seconds until the first moment, in which the process gets ready.
BEGIN_S = 0.1
#: Seconds between two looks for requests to give up.
SWEEP_S = 0.02
#: Seconds until a client of a closed loop tries again after a failure.
AGAIN_S = 0.05
#: Where a request has this, it is another one each time that it is sent: a cache does not know it.
MARK = b"marserve-plan-0123456789"
#: Of the system's timer: clock_gettime(2), timerfd_create(2).
_CLOCK_MONOTONIC, _TFD_NONBLOCK, _TFD_TIMER_ABSTIME = 1, os.O_NONBLOCK, 1

#: What became of a request besides an answer: the last is the generator's own failure.
TIMEOUT, CONNECTION, CONNECTIONS_USED_UP = "no answer in time", "connection failed", "generator: no connection left"


class Generator:
    """All requests of one run; times are those of ``time.monotonic``, after the run seconds since its beginning."""

    def __init__(
        self, port: int, requests: Sequence[bytes], due: Sequence[float] = (), first: int = 0, *,
        give_up_s: float = GIVE_UP_S, most_connections: int = MOST_CONNECTIONS, clients: int = 0, seconds: float = 0.0,
        host: str = LOOPBACK, tls: ssl.SSLContext | None = None, keeps: str = "",
    ) -> None:  # fmt: skip
        """``requests`` are sent from number ``first`` on and in turn, at the times ``due``.

        With ``clients`` it is a closed loop: each of them sends the next when it has its answer, for ``seconds``. Of
        the answers the header ``keeps`` is kept. ``tls`` None: plain HTTP.
        """
        self.port = port
        self.host = host
        self.tls = tls
        self.keeps = keeps.lower().encode()
        self.due = list(due)
        self.sent = [0.0] * len(due)
        self.answered = [0.0] * len(due)
        self.status = [0] * len(due)
        self.kept = [""] * len(due)
        self.failures: dict[str, int] = {}
        #: All that were ever opened, and those that are open.
        self.connections = self.open = 0
        #: Used last goes first, as in clients' pools.
        self.idle: list[_Connection] = []
        self._requests = requests
        self._run = secrets.token_hex(6)
        self._first = first
        self._clients = clients
        self._seconds = seconds
        self._give_up_s = give_up_s
        self._most_connections = most_connections
        self._next = 0
        self._left = len(due)
        #: In the order of what is due.
        self._waiting: deque[tuple[int, _Connection]] = deque()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(self) -> None:
        """Return when every request has been answered, or has failed."""
        loop = asyncio.get_running_loop()
        self.done = loop.create_future()
        begin = time.monotonic() + BEGIN_S
        self._end = begin + self._seconds
        self.due = [begin + seconds for seconds in self.due]
        self._timer = _Timer(loop, self._begin_clients if self._clients else self._send_due)
        self._timer.set(begin if self._clients else self.due[0])
        sweeping = loop.create_task(self._sweep())
        try:
            await self.done
        finally:
            sweeping.cancel()
            self._timer.close()
            for connection in self.idle:
                connection.transport.abort()
        self.due, self.sent = [at - begin for at in self.due], [at - begin for at in self.sent]
        self.answered = [at - begin if status else 0.0 for at, status in zip(self.answered, self.status, strict=True)]

    def request(self, number: int) -> bytes:
        """As it travels."""
        request = self._requests[(self._first + number) % len(self._requests)]
        return request.replace(MARK, f"{self._run}{number:0{len(MARK) - len(self._run)}}".encode(), 1)

    def note_answer(self, number: int, status: int, kept: str) -> None:
        """It is complete."""
        self.answered[number] = time.monotonic()
        self.status[number] = status
        self.kept[number] = kept
        self._one_less()

    def note_failure(self, reason: str) -> None:
        """A request will never be answered."""
        self.failures[reason] = self.failures.get(reason, 0) + 1
        self._one_less(AGAIN_S)

    def send_anew(self, number: int) -> None:
        """Over a connection of its own."""
        if self.open >= self._most_connections:
            self.note_failure(CONNECTIONS_USED_UP)
            return
        self.open += 1
        self.connections += 1
        connection = _Connection(self, number)
        self._waiting.append((number, connection))
        task = asyncio.get_running_loop().create_task(self._connect(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, connection: _Connection) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: connection, self.host, self.port, ssl=self.tls)
        except OSError:
            self.open -= 1
            connection.fail(CONNECTION)

    def _send_due(self) -> None:
        while self._next < len(self.due) and self.due[self._next] <= time.monotonic():
            self._next += 1
            self._send(self._next - 1)
        if self._next < len(self.due):
            self._timer.set(self.due[self._next])

    def _send(self, number: int) -> None:
        if self.idle:
            connection = self.idle.pop()
            connection.send(number)
            self._waiting.append((number, connection))
        else:
            self.send_anew(number)
        self.sent[number] = time.monotonic()

    def _begin_clients(self) -> None:
        self._left = self._clients
        for _ in range(self._clients):
            self._send_next()

    def _send_next(self) -> None:
        """The next of a closed loop."""
        number = len(self.due)
        self.due.append(time.monotonic())
        for times in (self.sent, self.answered):
            times.append(0.0)
        self.status.append(0)
        self.kept.append("")
        self._send(number)

    async def _sweep(self) -> None:
        """Give up what nobody waits for any more."""
        while True:
            await asyncio.sleep(SWEEP_S)
            oldest = time.monotonic() - self._give_up_s
            while self._waiting and self.due[self._waiting[0][0]] < oldest:
                number, connection = self._waiting.popleft()
                if connection.number == number:
                    connection.give_up()

    def _one_less(self, again_s: float = 0.0) -> None:
        if self._clients and time.monotonic() + again_s < self._end:
            # Not before its connection is idle.
            asyncio.get_running_loop().call_later(again_s, self._send_next)
            return
        self._left -= 1
        if not self._left and not self.done.done():
            self.done.set_result(None)


class _Connection(asyncio.Protocol):
    """One connection, with one request at a time; ``number`` is None while it is idle."""

    def __init__(self, generator: Generator, number: int) -> None:
        self.number: int | None = number
        self.transport: asyncio.Transport
        self._generator = generator
        self._is_used = False
        self._is_answering = False
        self._has_length = False
        self._kept = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._parser = HttpResponseParser(self)
        # What is written goes to the kernel at once, and not only when the loop has nothing else to do.
        self.transport.set_write_buffer_limits(0)
        if self.number is None:  # given up meanwhile
            self.transport.abort()
        else:
            self.send(self.number)

    def send(self, number: int) -> None:
        self.number = number
        self._is_answering = self._has_length = False
        self._kept = ""
        self.transport.write(self._generator.request(number))

    def data_received(self, data: bytes) -> None:
        self._is_answering = True
        try:
            self._parser.feed_data(data)
        except HttpParserError:
            self.fail(CONNECTION)
            self.transport.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        self._has_length |= name in (b"content-length", b"transfer-encoding")
        if name == self._generator.keeps:
            self._kept = value.decode("latin-1")

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200 or self.number is None:  # 100 Continue; or nobody asked
            return
        self._finish(status)
        if self._parser.should_keep_alive():
            self._is_used = True
            self._generator.idle.append(self)
        else:
            self.transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        self._generator.open -= 1
        if self.number is None:
            if self in self._generator.idle:
                self._generator.idle.remove(self)
        elif self._is_answering and not self._has_length and self._parser.get_status_code() >= 200:
            self._finish(self._parser.get_status_code())  # its end is that of the connection
        elif self._is_used and not self._is_answering:
            # The server closed it while the request was on its way to it: every client sends that again.
            number, self.number = self.number, None
            self._generator.send_anew(number)
        else:
            self.fail(CONNECTION)

    def give_up(self) -> None:
        """Nobody waits for the answer any more."""
        self.fail(TIMEOUT)
        if hasattr(self, "transport"):
            self.transport.abort()

    def fail(self, reason: str) -> None:
        if self.number is not None:
            self.number = None
            self._generator.note_failure(reason)

    def _finish(self, status: int) -> None:
        number, self.number = self.number, None
        assert number is not None  # noqa: S101 - it was asked before
        self._generator.note_answer(number, status, self._kept)


class _Timer:
    """timerfd_create(2): ``call`` runs in ``loop`` at a moment of the monotonic clock."""

    def __init__(self, loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._file = self._libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_NONBLOCK)
        if self._file < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        self._loop = loop
        self._call = call
        loop.add_reader(self._file, self._elapsed)

    def set(self, at: float) -> None:
        """Once, at ``at``; a moment that has passed is now."""
        nanoseconds = max(1, int(at * 1e9))
        value = (ctypes.c_long * 4)(0, 0, *divmod(nanoseconds, 1_000_000_000))
        self._libc.timerfd_settime(self._file, _TFD_TIMER_ABSTIME, ctypes.byref(value), None)

    def close(self) -> None:
        self._loop.remove_reader(self._file)
        os.close(self._file)

    def _elapsed(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._file, 8)
        self._call()
