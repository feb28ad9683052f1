"""Callers who have not shaken hands yet have a place, give way, and give it to the connection that comes of it."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from marserve.system import loopback
from marserve.web import door as module
from marserve.web.certificate import Certificate
from marserve.web.connections import Places
from marserve.web.door import Door, Handshake
from tests.certificates import Pair, make_pair
from tests.unit.web.service import SOON_S, until

pytestmark = [pytest.mark.anyio, pytest.mark.needs("openssl")]


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return make_pair(tmp_path)


class Greeting(asyncio.Protocol):
    """Takes a place, like the service's own, and says so."""

    def __init__(self, handshake: Handshake, places: Places) -> None:
        self._handshake, self._places = handshake, places

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._handshake.leave()
        assert self._places.enter(self)
        transport.write(b"hello")

    def give_way(self) -> None:
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._places.leave(self)


@asynccontextmanager
async def opened(pair: Pair, places: Places) -> AsyncIterator[tuple[Door, int]]:
    context = Certificate(pair.certificate, pair.key).context
    door = Door(context, places, lambda handshake: Greeting(handshake, places), backlog=64)
    with socket.create_server(("127.0.0.1", 0)) as bound:
        door.open([bound])
        try:
            yield door, bound.getsockname()[1]
        finally:
            await door.close()


async def soon(awaited: Awaitable[bytes]) -> bytes:
    return await asyncio.wait_for(awaited, SOON_S)


async def is_so(holds: Callable[[], bool]) -> None:
    async def happened() -> bool:
        return holds()

    await until(happened)


async def greeted(pair: Pair, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    context = loopback.trusting(pair.certificate.read_text())
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    assert await soon(reader.readexactly(5)) == b"hello"
    return reader, writer


async def test_who_says_nothing_counts_and_gives_way_to_who_does(pair: Pair) -> None:
    places = Places(4)
    async with opened(pair, places) as (_, port):
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(4)]
        await is_so(lambda: places.taken == 4)
        _, writer = await greeted(pair, port)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await soon(silent[0][0].readexactly(1))  # the first that came
        await is_so(lambda: places.taken == 4)
        writer.close()
        for _, one in silent:
            one.close()
        await is_so(lambda: places.taken == 0)


async def test_a_handshake_gives_its_place_to_its_own_connection(pair: Pair) -> None:
    """And does not make that give way to itself."""
    places = Places(1)
    async with opened(pair, places) as (_, port):
        reader, writer = await greeted(pair, port)
        assert places.taken == 1
        _, next_writer = await greeted(pair, port)
        assert not await soon(reader.read())
        assert places.taken == 1
        next_writer.close()
        writer.close()


async def test_what_is_no_tls_loses_its_place(pair: Pair) -> None:
    places = Places(4)
    async with opened(pair, places) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        assert b"200" not in await soon(reader.read())
        await is_so(lambda: places.taken == 0)
        writer.close()


async def test_who_is_too_slow_loses_its_place(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HANDSHAKE_DEADLINE_S", 0.1)
    places = Places(4)
    async with opened(pair, places) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert not await soon(reader.read())
        await is_so(lambda: places.taken == 0)
        writer.close()


async def test_where_all_others_are_at_work_nobody_is_let_in(pair: Pair) -> None:
    places = Places(1)
    at_work = Handshake(places, None)
    at_work.enter()
    places.begin(at_work)
    async with opened(pair, places) as (_, port):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await greeted(pair, port)
        assert places.taken == 1


async def test_where_there_is_no_descriptor_it_tries_again(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    accept, failures = loop.sock_accept, [OSError(errno.EMFILE, "Too many open files")]

    async def sometimes(listening: socket.socket) -> tuple[socket.socket, object]:
        if failures:
            raise failures.pop()
        return await accept(listening)

    monkeypatch.setattr(loop, "sock_accept", sometimes)
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    async with opened(pair, Places(4)) as (_, port):
        _, writer = await greeted(pair, port)
        assert not failures
        writer.close()


async def test_a_closed_door_lets_nobody_in_and_handshakes_go_on(pair: Pair) -> None:
    places = Places(4)
    async with opened(pair, places) as (door, port):
        late = socket.create_connection(("127.0.0.1", port))
        await is_so(lambda: places.taken == 1)
        await door.close()
        late.setblocking(False)
        context = loopback.trusting(pair.certificate.read_text())
        reader, writer = await asyncio.open_connection(sock=late, ssl=context, server_hostname="127.0.0.1")
        assert await soon(reader.readexactly(5)) == b"hello"
        writer.close()
