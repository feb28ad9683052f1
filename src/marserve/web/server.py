"""One uvicorn process, which ends gracefully."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import cast

import uvicorn
from fastapi import FastAPI

from marserve.handler.resnet18.heap import Heap
from marserve.web.app import create_app
from marserve.web.certificate import Certificate
from marserve.web.connections import Places, most_connections, raise_descriptor_limit
from marserve.web.door import Door, Handshake
from marserve.web.protocol import KEEP_ALIVE_S, PatientProtocol
from marserve.web.settings import WebSettings
from marserve.web.tracing.context import create_tracing
from marserve.web.transport import CrumbsBudget

logger = logging.getLogger(__name__)

#: Seconds beyond all deadlines for answers to be written.
WRITE_S = 5
#: What uvicorn ends with where it cannot listen.
CANNOT_LISTEN = 3
#: Seconds, at most, between accepting no more connections and closing those that are kept: a request may be on its way,
#: and on a machine under load it takes its time. It ends sooner where every client has been answered and closed.
LINGER_S = 2.0
#: Seconds of MARSERVE_GRACE_S that are left for the end of this process, and of TorchServe after it.
END_S = 6.0
#: Most pictures are smaller; for what is larger the system's pages cost little beside receiving it.
LARGE_BLOCK_BYTES = 1 << 20
#: What is free in the heap is given back where the process has taken so much since the last time. After a rush of 500
#: pictures that were 110 MB, in 11 ms. How often that is looked at.
MANY_BYTES, LOOK_S = 2 << 20, 10.0


class GracefulServer(uvicorn.Server):
    """On SIGTERM or SIGINT: not ready at once; accepts no connections after ``drain_s``; ends with exit status 0 when
    all is answered.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        places: Places,
        *,
        drain_s: float,
        on_stop: Callable[[], None],
        grace_s: float = math.inf,
    ) -> None:
        """``places`` are those of ``config``; ``grace_s``: seconds from the signal in which all is to be over."""
        super().__init__(config)
        self._places = places
        self._door: Door | None = None
        self._on_stop = on_stop
        self._drain_s = drain_s
        self._grace_s = grace_s
        self._close_at = self._give_up_at = math.inf

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Begin to stop; a second signal ends the wait, and a second SIGINT everything.

        Unlike the one it overrides, this does not raise the signal again in the end, which would be exit status 143.
        """
        if self._close_at < math.inf:
            self._close_at = 0
            self.force_exit = self.should_exit and sig == signal.SIGINT
            return
        now = time.monotonic()
        self._give_up_at = now + self._grace_s
        self._close_at = now + min(self._drain_s, max(0, self._grace_s - LINGER_S))
        self._on_stop()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002
        """As uvicorn's, whose connections count only after their handshakes."""
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            sys.exit(CANNOT_LISTEN)
        config = self.config
        try:
            server = await asyncio.get_running_loop().create_server(
                self._create_protocol,
                config.host,
                config.port,
                backlog=config.backlog,
                start_serving=not config.ssl,
            )
        except OSError as exc:
            logger.error("%s", exc)
            await self.lifespan.shutdown()
            sys.exit(CANNOT_LISTEN)
        if config.ssl:
            self._door = Door(config.ssl, self._places, self._create_protocol, config.backlog)
            self._door.open(server.sockets)
        self.servers = [server]
        self._log_started_message(server.sockets)
        self.started = True

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
        if self._give_up_at < math.inf:
            left_s = max(0, int(self._give_up_at - time.monotonic()))
            self.config.timeout_graceful_shutdown = min(left_s, self.config.timeout_graceful_shutdown or left_s)
        await super().shutdown(sockets)

    async def _stop_accepting(self) -> None:
        """Close the listening sockets, and take the connections that wait in them: the kernel would reset those."""
        # Copies: uvloop closes its own without a last look.
        copies = [os.dup(listening.fileno()) for server in self.servers for listening in server.sockets]
        for server in self.servers:
            server.close()
        if self._door is not None:
            await self._door.close()
        accepted: list[socket.socket] = []
        for copy in copies:
            with socket.socket(fileno=copy) as listening, suppress(OSError):  # in the end BlockingIOError
                while True:
                    accepted.append(listening.accept()[0])
        if self._door is not None:
            # At once: some have left, and some will never begin.
            await self._door.receive(accepted, LINGER_S)
            return
        connect = asyncio.get_running_loop().connect_accepted_socket
        await asyncio.gather(*(connect(self._create_protocol, one) for one in accepted), return_exceptions=True)

    def _create_protocol(self, handshake: Handshake | None = None) -> asyncio.Protocol:
        create = cast("Callable[..., asyncio.Protocol]", self.config.http_protocol_class)
        return create(
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
            handshake=handshake,
        )


def create_config(app: FastAPI, settings: WebSettings, places: Places) -> uvicorn.Config:
    """``places`` is for its connections."""
    create_protocol = partial(PatientProtocol, places=places, crumbs=CrumbsBudget(time.monotonic))
    if hasattr(app.state, "metrics"):
        app.state.metrics.connections.set_function(lambda: places.taken)
    certificate: Certificate | None = getattr(app.state, "certificate", None)
    return uvicorn.Config(
        app,
        # An address, never a socket of our own: the one that uvicorn makes for several workers has no protocol number,
        # so that asyncio does not set TCP_NODELAY on its connections, and every answer waits some 40 ms for the
        # acknowledgement of its headers.
        host=settings.web_host,
        port=settings.web_port,
        loop="uvloop",
        http=cast("type[asyncio.Protocol]", create_protocol),
        ssl_context_factory=None if certificate is None else lambda _config, _default: certificate.context,
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
    app = create_app(settings, create_tracing())
    places = Places(most_connections(raise_descriptor_limit(), settings.max_in_flight))
    config = create_config(app, settings, places)
    grace_s = math.inf if settings.grace_s is None else max(0, settings.grace_s - END_S)
    server = GracefulServer(config, places, drain_s=settings.drain_s, on_stop=app.state.stopping.set, grace_s=grace_s)
    Heap(MANY_BYTES, LARGE_BLOCK_BYTES).look_every(LOOK_S)
    server.run()
