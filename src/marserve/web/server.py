"""One uvicorn process: ends gracefully, and bears callers of all kinds."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import cast

import uvicorn
from fastapi import FastAPI
from httptools import HttpParserError, HttpParserUpgrade
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from marserve.handler.resnet18.errors import InvalidRequest
from marserve.web.app import create_app
from marserve.web.errors import error_content
from marserve.web.settings import WebSettings

#: Seconds that an idle connection is kept: longer than load balancers keep theirs (60), which would otherwise send
#: requests into connections that are just being closed.
KEEP_ALIVE_S = 75
#: Seconds beyond all deadlines for answers to be written.
WRITE_S = 5
#: Seconds, at most, between accepting no more connections and closing those that are kept: a request may be on its way,
#: and on a machine under load it takes its time. It ends sooner where every client has been answered and closed.
LINGER_S = 2.0
#: Seconds in which the headers of a request must have arrived, from the connection's opening or their first byte on:
#: uvicorn itself would wait for ever, and each such connection costs a file descriptor.
HEADERS_DEADLINE_S = 10.0


class GracefulServer(uvicorn.Server):
    """On SIGTERM or SIGINT: not ready at once; accepts no connections after ``drain_s``; ends with exit status 0 when
    all is answered.
    """

    def __init__(self, config: uvicorn.Config, *, drain_s: float, on_stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_stop = on_stop
        self._drain_s = drain_s
        self._close_at = math.inf

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Begin to stop; a second signal ends the wait, and a second SIGINT everything.

        Unlike the one it overrides, this does not raise the signal again in the end, which would be exit status 143.
        """
        if self._close_at < math.inf:
            self._close_at = 0
            self.force_exit = self.should_exit and sig == signal.SIGINT
            return
        self._close_at = time.monotonic() + self._drain_s
        self._on_stop()

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second: whether to stop accepting connections now."""
        self.should_exit = self.should_exit or time.monotonic() >= self._close_at
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Called when no more connections are accepted: what comes on a kept one is still answered, and closes it."""
        await self._stop_accepting()
        give_up = time.monotonic() + LINGER_S
        while self.server_state.connections and time.monotonic() < give_up:
            await asyncio.sleep(0.05)
        await super().shutdown(sockets)

    async def _stop_accepting(self) -> None:
        """Close the listening sockets, and take the connections that wait in them: the kernel would reset those."""
        # Copies: uvloop closes its own without a last look.
        copies = [os.dup(listening.fileno()) for server in self.servers for listening in server.sockets]
        for server in self.servers:
            server.close()
        accepted: list[socket.socket] = []
        for copy in copies:
            with socket.socket(fileno=copy) as listening, suppress(OSError):  # in the end BlockingIOError
                while True:
                    accepted.append(listening.accept()[0])
        loop = asyncio.get_running_loop()
        for connection in accepted:
            await loop.connect_accepted_socket(self._create_protocol, connection, ssl=self.config.ssl)

    def _create_protocol(self) -> PatientProtocol:
        return PatientProtocol(self.config, self.server_state, self.lifespan.state)


class PatientProtocol(HttpToolsProtocol):
    """Gives up requests whose headers do not arrive, and answers what is no HTTP in the one error shape.

    It ignores an offer to change to another protocol, as HTTP allows. Java's client makes one with every request, and
    uvicorn would take the body for that other protocol, and lose the picture.

    ``request.state.has_arrived`` says whether all of the request is here, ``has_left`` whether its caller is not.
    """

    _headers_timer: asyncio.TimerHandle | None = None
    _answers: _WholeAnswers

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._answers = _WholeAnswers(transport)
        self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"] |= {"has_arrived": self._has_arrived, "has_left": self.transport.is_closing}
        if self._headers_timer is None:
            self._await_headers()

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        rest: bytes | memoryview | None = data
        try:
            while rest is not None:
                rest = self._parse(rest)
        except HttpParserError:
            self.logger.warning("A request cannot be read.")
            self.send_400_response("The request cannot be read.")

    def _parse(self, data: bytes | memoryview) -> memoryview | None:
        """Parse up to the end, or to that of a head with an offer, which is parsed again without it; what is left."""
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade as offer:
            first = b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
            headers = [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
            self.parser.feed_data(b"\r\n".join([first, *headers, b"", b""]))
            return memoryview(data)[offer.args[0] :]
        return None

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        if not self.parser.should_upgrade():
            super().on_headers_complete()
            self.cycle.transport = cast("asyncio.Transport", self._answers)
        elif self.parser.get_method() == b"CONNECT":
            raise HttpParserError("no proxy")

    def on_body(self, body: bytes) -> None:
        if not self.cycle.body:
            # uvicorn's bytearray is a copy of each piece, and what is read of it another one; the first piece of bytes
            # is none.
            self.cycle.body = b""  # type: ignore[assignment]
        super().on_body(body)

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _has_arrived(self) -> bool:
        # That of a request behind it in the pipeline only begins when its own has ended.
        return not self.cycle.more_body

    def on_response_complete(self) -> None:
        self._answers.flush()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        error = InvalidRequest(f"{msg} Send HTTP/1.1, with all but ASCII letters of the address percent-encoded.")
        body = json.dumps(error_content(error)).encode()
        self.transport.write(
            b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n"
            b"content-length: %d\r\n\r\n%b" % (len(body), body)
        )
        self.transport.close()

    def _await_headers(self) -> None:
        self._headers_timer = self.loop.call_later(HEADERS_DEADLINE_S, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._headers_timer is not None:
            self._headers_timer.cancel()
            self._headers_timer = None


class _WholeAnswers:
    """The part of a transport that answers are written to: the head of one waits for its body.

    Each write is a system call, which wakes whoever waits for the answer, and would do so twice.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        if not self._head and data.startswith(b"HTTP/1.1 ") and not data.startswith(b"HTTP/1.1 100 "):
            self._head = data
        else:
            self._transport.writelines([self._head, data])
            self._head = b""

    def flush(self) -> None:
        """Write what waits: the answer to HEAD has no body."""
        if self._head:
            self.write(b"")

    def close(self) -> None:
        self.flush()
        self._transport.close()


def create_config(app: FastAPI, settings: WebSettings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        # An address, never a socket of our own: the one that uvicorn makes for several workers has no protocol number,
        # so that asyncio does not set TCP_NODELAY on its connections, and every answer waits some 40 ms for the
        # acknowledgement of its headers.
        host=settings.web_host,
        port=settings.web_port,
        loop="uvloop",
        http=PatientProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # TrustedProxies reads more of them
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=math.ceil(settings.upload_deadline_s + settings.request_deadline_s + WRITE_S),
    )


def serve(settings: WebSettings) -> None:
    app = create_app(settings)
    GracefulServer(create_config(app, settings), drain_s=settings.drain_s, on_stop=app.state.stopping.set).run()
