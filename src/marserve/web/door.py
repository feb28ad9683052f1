"""The door of HTTPS: callers who have not shaken hands yet count as connections, and give way like idle ones.

asyncio itself tells a protocol of its connection after the handshake. Until then nobody would know how many there are,
and callers who never begin theirs would take every file descriptor of the process.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Iterable, Sequence
from functools import partial
from ssl import SSLContext
from typing import Protocol

from marserve.web.connections import Places

logger = logging.getLogger(__name__)

#: Seconds for the handshake of a connection, and for its end.
HANDSHAKE_DEADLINE_S = 10.0
#: Seconds to wait where the system has no file descriptor for one more connection.
RETRY_S = 1.0


class Handshake:
    """The place of a caller who is at it."""

    def __init__(self, places: Places, task: asyncio.Task[None] | None) -> None:
        self._places = places
        self._task = task
        self._has_place = False

    def enter(self) -> bool:
        """Take a place; False where all others have a request at work."""
        self._has_place = True
        return self._places.enter(self)

    def give_way(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def leave(self) -> None:
        """Give the place back, once: to the connection that comes of it, or to others."""
        if self._has_place:
            self._has_place = False
            self._places.leave(self)


class CreateProtocol(Protocol):
    def __call__(self, handshake: Handshake) -> asyncio.Protocol: ...


class Door:
    """Accepts connections and shakes hands, with the context's certificate of that moment."""

    def __init__(self, context: SSLContext, places: Places, create_protocol: CreateProtocol, backlog: int) -> None:
        self._context = context
        self._places = places
        self._create_protocol = create_protocol
        self._backlog = backlog
        self._listening: list[socket.socket] = []
        #: The event loop itself keeps only weak references.
        self._tasks: set[asyncio.Task[None]] = set()
        self._accepting: list[asyncio.Task[None]] = []

    def open(self, sockets: Iterable[socket.socket]) -> None:
        """Listen at ``sockets``, which are bound; they stay whose they are."""
        for bound in sockets:
            # A copy: the loop lets nobody else look at what belongs to a server of its own.
            listening = socket.socket(fileno=os.dup(bound.fileno()))
            listening.setblocking(False)
            listening.listen(self._backlog)
            self._listening.append(listening)
            self._accepting.append(asyncio.create_task(self._accept_all(listening)))

    async def close(self) -> None:
        """Accept no more; handshakes go on."""
        for task in self._accepting:
            task.cancel()
        await asyncio.gather(*self._accepting, return_exceptions=True)
        for listening in self._listening:
            listening.close()
        self._listening.clear()

    async def receive(self, connections: Sequence[socket.socket], deadline_s: float) -> None:
        """Shake hands with all of ``connections``, which were accepted elsewhere."""
        await asyncio.gather(*(self._shake_hands(connection, deadline_s) for connection in connections))

    async def _accept_all(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listening)
            except OSError as exc:
                if exc.errno != errno.ECONNABORTED:
                    logger.error("No connection can be accepted: %s", exc)
                    await asyncio.sleep(RETRY_S)
                continue
            task = asyncio.create_task(self._shake_hands(connection, HANDSHAKE_DEADLINE_S))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _shake_hands(self, connection: socket.socket, deadline_s: float) -> None:
        handshake = Handshake(self._places, asyncio.current_task())
        if not handshake.enter():
            handshake.leave()
            connection.close()
            return
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                partial(self._create_protocol, handshake),
                connection,
                ssl=self._context,
                ssl_handshake_timeout=deadline_s,
                ssl_shutdown_timeout=deadline_s,
            )
        except OSError:
            pass  # of a caller who does not speak TLS, takes too long, or is gone
        finally:
            handshake.leave()
