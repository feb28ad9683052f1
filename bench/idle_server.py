"""How fast wrk could go: a server that reads each request and answers at once, with nothing to compute."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]"
FAILURE = b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


@dataclass
class IdleServer:
    """``bodies`` are the different ones that came."""

    port: int = 0
    answered: int = 0
    last_head: bytes = b""
    bodies: set[bytes] = field(default_factory=set)


@contextmanager
def idle_server(fail_every: int = 0) -> Iterator[IdleServer]:
    """Serve in a thread; with ``fail_every`` n, every nth answer is a 500."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    state = IdleServer()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                state.last_head = await reader.readuntil(b"\r\n\r\n")
                state.bodies.add(await reader.readexactly(_content_length(state.last_head)))
                state.answered += 1
                writer.write(FAILURE if fail_every and state.answered % fail_every == 0 else ANSWER)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client went, or the block was left
        finally:
            writer.close()

    serving = asyncio.run_coroutine_threadsafe(
        asyncio.start_server(connected, "127.0.0.1", 0, limit=2**22), loop
    ).result()
    state.port = serving.sockets[0].getsockname()[1]
    try:
        yield state
    finally:
        asyncio.run_coroutine_threadsafe(_close(serving), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _close(server: asyncio.Server) -> None:
    server.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0
