"""HTTP with callers of all kinds: those that hardly speak it, and those that mean harm."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from http import HTTPStatus
from time import perf_counter
from typing import Any, cast

from httptools import HttpParserError, HttpParserUpgrade
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from marserve.handler.resnet18.errors import InvalidRequest, RequestError
from marserve.web.connections import Places
from marserve.web.door import Handshake
from marserve.web.errors import HeadTooLarge, Overloaded, WebError, error_content
from marserve.web.transport import CRUMBS, CrumbsBudget, HeldFlowControl, WholeAnswers

#: Seconds that an idle connection is kept: longer than load balancers keep theirs (60), which would otherwise send
#: requests into connections that are just being closed.
KEEP_ALIVE_S = 75
#: Seconds in which the headers of a request must have arrived, from the connection's opening or their first byte on:
#: uvicorn itself would wait for ever, and each such connection costs a file descriptor.
HEADERS_DEADLINE_S = 10.0
#: Bytes of a request's address and headers, as uvicorn's other parser takes them: nobody else bounds them.
MAX_HEAD_BYTES = 65_536
HEAD_TOO_LARGE = f"The address and the headers have more than {MAX_HEAD_BYTES} bytes: send fewer."
#: Seconds in which the rest of a body must have arrived whose request has been answered (nginx's lingering_time).
REST_DEADLINE_S = 30.0
#: Seconds in which whoever was refused may send on, unread, and read why.
LINGER_S = 2.0
#: Seconds in which whoever is sent an answer must take some of it.
WRITE_DEADLINE_S = 30.0
TOO_MANY = "Every connection that there may be has a request at work: try again in a moment."

Headers = Sequence[tuple[bytes, bytes]]


class PatientProtocol(HttpToolsProtocol):
    """Answers what is no HTTP in the one error shape, and bounds what a connection takes: the bytes of headers, and the
    time in which they, the rest of a body that nobody reads, and the next part of an answer must be sent or taken.

    It ignores an offer to change to another protocol, as HTTP allows. Java's client makes one with every request, and
    uvicorn would take the body for that other protocol, and lose the picture.

    ``request.state.has_arrived`` says whether all of the request is here, ``has_left`` whether its caller is not.
    """

    #: Closes the connection where what is waited for does not arrive.
    _arrival_timer: asyncio.TimerHandle | None = None
    _writing_timer: asyncio.TimerHandle | None = None
    #: What was not written yet when the timer was set.
    _unwritten_bytes = 0
    #: Bytes of the latest pieces that brought neither the end of a head nor anything of a body.
    _head_bytes = 0
    #: What is said to a request that cannot be read, after the answers to those before it.
    _refusal: RequestError | None = None
    #: Parts of bodies in the latest read.
    _parts = 0
    _answers: WholeAnswers
    flow: HeldFlowControl

    def __init__(
        self, *, places: Places, crumbs: CrumbsBudget, handshake: Handshake | None = None, **of_uvicorn: Any
    ) -> None:
        super().__init__(**of_uvicorn)
        self._places = places
        self._crumbs = crumbs
        self._handshake = handshake

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = HeldFlowControl(transport)
        self._answers = WholeAnswers(transport, self._close)
        self._await_arrival(HEADERS_DEADLINE_S)
        if self._handshake is not None:
            self._handshake.leave()
        if not self._places.enter(self):
            self._refuse(Overloaded(TOO_MANY))

    def give_way(self) -> None:
        """End, being idle: whoever comes is served instead."""
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._places.leave(self)
        self.flow.forget()
        self._stop_waiting()
        self._stop_watching()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"] |= {"has_arrived": self._has_arrived, "has_left": self.transport.is_closing}
        if self._arrival_timer is None:
            self._await_arrival(HEADERS_DEADLINE_S)

    def data_received(self, data: bytes) -> None:
        if self._refusal is not None:
            return
        self._unset_keepalive_if_required()
        self._head_bytes += len(data)
        self._parts, began_s = 0, perf_counter()
        rest: bytes | memoryview | None = data
        try:
            while rest is not None:
                rest = self._parse(rest)
            if self._head_bytes > MAX_HEAD_BYTES:
                raise HeadTooLarge(HEAD_TOO_LARGE)
        except (HttpParserError, HeadTooLarge) as exc:
            self.logger.warning("A request cannot be read.")
            self._refuse(_refusal_of(exc))
            return
        if self._parts > CRUMBS:
            self.flow.hold(self._crumbs.pause_s(perf_counter() - began_s))
        if self._arrival_timer is None and self._is_answered():
            # Empty lines between two requests: they stopped the timer of the idle connection.
            self._await_arrival(HEADERS_DEADLINE_S)

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
        self._places.begin(self)
        self._head_bytes = 0
        if not self.parser.should_upgrade():
            _check_head(self.url, self.headers, self.parser.get_http_version())
            super().on_headers_complete()
            self.cycle.transport = cast("asyncio.Transport", self._answers)
            # What follows a chunked body looks like headers, and would come too late to count as some.
            self.headers = []
        elif self.parser.get_method() == b"CONNECT":
            raise HttpParserError("no proxy")

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        self._parts += 1
        if not self.cycle.body:
            # uvicorn's bytearray is a copy of each piece, and what is read of it another one; the first piece of bytes
            # is none.
            self.cycle.body = b""  # type: ignore[assignment]
        elif isinstance(self.cycle.body, bytes):
            self.cycle.body = bytearray(self.cycle.body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        if self.cycle.response_complete:
            self.cycle.more_body = False
            self._places.rest(self)
            self._stop_waiting()
            self._await_arrival(KEEP_ALIVE_S)
        super().on_message_complete()

    def _has_arrived(self) -> bool:
        # That of a request behind it in the pipeline only begins when its own has ended.
        return not self.cycle.more_body

    def _is_answered(self) -> bool:
        """Whether there is no request, and no part of one, that an answer is owed to."""
        return self.cycle is None or self.cycle.response_complete

    def on_response_complete(self) -> None:
        self._answers.flush()
        was_last = not self.pipeline
        super().on_response_complete()
        if not was_last or self.transport.is_closing():
            return
        if not self.cycle.more_body:
            self._places.rest(self)
        if self._refusal is not None:
            self._send_refusal()
        elif self.cycle.more_body:
            self._unset_keepalive_if_required()
            self._await_arrival(REST_DEADLINE_S)

    def _refuse(self, refusal: RequestError) -> None:
        """Answer a request that cannot be read when those before it are answered; what follows it is not read."""
        self._refusal = refusal
        self._stop_waiting()
        is_begun = self.cycle is not None and self.cycle.more_body
        if is_begun and self.pipeline:
            self.pipeline.popleft()  # its own beginning
        elif is_begun or self._is_answered():
            self._send_refusal()

    def _send_refusal(self) -> None:
        refusal = cast("RequestError", self._refusal)
        phrase, body = HTTPStatus(refusal.status).phrase.encode(), json.dumps(error_content(refusal)).encode()
        own = refusal.headers() if isinstance(refusal, WebError) else {}
        headers = "".join(f"{name.lower()}: {value}\r\n" for name, value in own.items()).encode()
        self.transport.write(
            b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\nconnection: close\r\n%b"
            b"content-length: %d\r\n\r\n%b" % (refusal.status, phrase, headers, len(body), body)
        )
        if self.transport.can_write_eof():
            # Closed at once, the connection would be reset under whoever still sends, and the answer lost.
            self.transport.write_eof()
            self._await_arrival(LINGER_S)
        else:
            self._close()

    def timeout_keep_alive_handler(self) -> None:
        self._close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_writing()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_watching()

    def _close(self) -> None:
        self.transport.close()
        self._watch_writing()

    def _watch_writing(self) -> None:
        """A transport waits for ever for whoever does not take an answer, also where it is closed."""
        self._unwritten_bytes = self.transport.get_write_buffer_size()
        if self._unwritten_bytes and self._writing_timer is None:
            self._writing_timer = self.loop.call_later(WRITE_DEADLINE_S, self._check_writing)

    def _check_writing(self) -> None:
        self._writing_timer = None
        if self.transport.get_write_buffer_size() >= self._unwritten_bytes > 0:
            self.transport.abort()
        else:
            self._watch_writing()

    def _stop_watching(self) -> None:
        if self._writing_timer is not None:
            self._writing_timer.cancel()
            self._writing_timer = None

    def _await_arrival(self, deadline_s: float) -> None:
        self._arrival_timer = self.loop.call_later(deadline_s, self._close)

    def _stop_waiting(self) -> None:
        if self._arrival_timer is not None:
            self._arrival_timer.cancel()
            self._arrival_timer = None


def _check_head(url: bytes, headers: Headers, http_version: str) -> None:
    """Refuse a head that is too large, and one that two readers of a connection may understand differently: where its
    body ends, and whose it is. The parser has refused most of those already.

    Raises HeadTooLarge or HttpParserError.
    """
    size = len(url)
    hosts = 0
    codings = []
    for name, value in headers:
        size += len(name) + len(value)
        if name == b"host":
            hosts += 1
        elif name == b"transfer-encoding":
            codings.append(value.strip().lower())
    if size > MAX_HEAD_BYTES:
        raise HeadTooLarge(HEAD_TOO_LARGE)
    if hosts > 1 or (codings and (codings != [b"chunked"] or http_version == "1.0")):
        raise HttpParserError("two hosts, or a body in another coding than chunked")


def _refusal_of(exc: HttpParserError | HeadTooLarge) -> RequestError:
    # The parser wraps what its callbacks raise.
    for one in (exc, exc.__context__):
        if isinstance(one, RequestError):
            return one
    return InvalidRequest(
        "The request cannot be read. Send HTTP/1.1, with all but ASCII letters of the address percent-encoded."
    )
