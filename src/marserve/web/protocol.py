"""uvicorn's HTTP protocol, made fit for callers of all kinds."""

from __future__ import annotations

import asyncio
import json

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from marserve.web.errors import InvalidRequest

#: Seconds in which the headers of a request must have arrived, from the connection's opening or their first byte on:
#: uvicorn itself would wait for ever, and each such connection costs a file descriptor.
HEADERS_DEADLINE_S = 10.0


class Protocol(HttpToolsProtocol):
    """Gives up requests whose headers do not arrive, and answers what is no HTTP in the one error shape."""

    _headers_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A caller has connected."""
        super().connection_made(transport)
        self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._stop_waiting()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """The first byte of a request has arrived."""
        super().on_message_begin()
        if self._headers_timer is None:
            self._await_headers()

    def on_headers_complete(self) -> None:
        """The headers of a request have arrived."""
        self._stop_waiting()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        error = InvalidRequest(f"{msg} Send HTTP/1.1.")
        body = json.dumps(error.as_json()).encode()
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
