"""One uvicorn process, which ends gracefully."""

from __future__ import annotations

import asyncio
import math
import signal
import socket
import time
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from marserve.web.app import create_app
from marserve.web.protocol import Protocol
from marserve.web.settings import WebSettings

#: Seconds that an idle connection is kept: longer than load balancers keep theirs (60), which would otherwise send
#: requests into connections that are just being closed.
KEEP_ALIVE_S = 75
#: Seconds beyond all deadlines for answers to be written.
WRITE_S = 5
#: Seconds between being deaf to new connections and closing those that wait for a request: one may be on its way.
LINGER_S = 0.5


class Server(uvicorn.Server):
    """On SIGTERM or SIGINT: not ready at once, deaf after ``drain_s``, gone with exit status 0 when all is answered."""

    def __init__(self, config: uvicorn.Config, *, drain_s: float, on_stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_stop = on_stop
        self._drain_s = drain_s
        self._deaf_at = math.inf

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Begin to stop; a second signal ends the wait, and a second SIGINT everything.

        Unlike the one it overrides, this does not raise the signal again in the end, which would be exit status 143.
        """
        if self._deaf_at < math.inf:
            self._deaf_at = 0
            self.force_exit = self.should_exit and sig == signal.SIGINT
            return
        self._deaf_at = time.monotonic() + self._drain_s
        self._on_stop()

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second: whether to stop accepting connections now."""
        self.should_exit = self.should_exit or time.monotonic() >= self._deaf_at
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Called when it is to be deaf: what comes on a connection that was kept is still answered, and closes it."""
        for server in self.servers:
            server.close()
        await asyncio.sleep(LINGER_S)
        await super().shutdown(sockets)


def create_config(app: FastAPI, settings: WebSettings) -> uvicorn.Config:
    """How uvicorn runs ``app``."""
    return uvicorn.Config(
        app,
        # An address, never a socket of our own: the one that uvicorn makes for several workers has no protocol number,
        # so that asyncio does not set TCP_NODELAY on its connections, and every answer waits some 40 ms for the
        # acknowledgement of its headers.
        host=settings.web_host,
        port=settings.web_port,
        loop="uvloop",
        http=Protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=math.ceil(settings.upload_deadline_s + settings.request_deadline_s + WRITE_S),
    )


def serve(settings: WebSettings) -> None:
    """Serve until a signal comes."""
    app = create_app(settings)
    Server(create_config(app, settings), drain_s=settings.drain_s, on_stop=app.state.stopping.set).run()
