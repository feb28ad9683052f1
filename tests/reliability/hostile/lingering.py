"""Connections that never come to an end by themselves: each must be ended by the service, within its deadlines."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

from tests.reliability.hostile.wire import Attack

#: Seconds between two bytes.
DRIP_S = 1.0
POST = b"POST /predict HTTP/1.1\r\nHost: here\r\n"


async def _drip(attack: Attack, beginning: bytes, drop: bytes) -> str:
    """Send ``drop`` again and again until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", attack.port)
    answer = asyncio.create_task(reader.read())
    try:
        writer.write(beginning)
        while not answer.done():
            await asyncio.wait([answer], timeout=DRIP_S)
            if not writer.is_closing():
                writer.write(drop)
        return attack.judge([beginning], answer.result())
    finally:
        answer.cancel()
        writer.close()


async def _flood(attack: Attack, beginning: bytes, wave: bytes) -> str:
    """Send as fast as it is taken."""
    reader, writer = await asyncio.open_connection("127.0.0.1", attack.port)
    answer = asyncio.create_task(reader.read())
    try:
        writer.write(beginning)
        while not answer.done():
            writer.write(wave)
            await asyncio.wait([answer, drained := asyncio.create_task(writer.drain())], return_when="FIRST_COMPLETED")
            drained.cancel()
            await asyncio.sleep(0.02)  # others are to be served beside
        return attack.judge([beginning], answer.result())
    finally:
        answer.cancel()
        writer.close()


async def _take_nothing(attack: Attack) -> str:
    """Ask for much, and read none of it, until the connection is gone."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)
    loop = asyncio.get_running_loop()
    with connection:
        await loop.sock_connect(connection, ("127.0.0.1", attack.port))
        while True:
            try:
                connection.send(b"GET /openapi.json HTTP/1.1\r\nHost: here\r\n\r\n" * 20)
            except BlockingIOError:
                await asyncio.sleep(DRIP_S)
            except OSError:
                return "closed"
            await asyncio.sleep(0.05)


def kinds(attack: Attack) -> list[Callable[[], Awaitable[str]]]:
    """One of each."""
    chunked = POST + b"Transfer-Encoding: chunked\r\n\r\n"
    drips = [
        (b"", b""),
        (POST, b"X: y\r\n"),
        (b"GET /", b"a"),
        (POST + b"Content-Length: 100000\r\n\r\n", b"a"),
        (chunked, b"1\r\na\r\n"),
        (chunked + b"5;", b"x"),
        (chunked + b"0\r\n", b"X: y\r\n"),
        (b"POST /nowhere HTTP/1.1\r\nHost: here\r\nContent-Length: 100000\r\n\r\n", b"a"),
        (POST + b"Content-Length: 100000\r\nExpect: 100-continue\r\n\r\n", b""),
        (b"GET /healthz HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n", b"\r\n"),
    ]
    floods = [
        (POST + b"X: ", b"a" * 60_000),
        (POST, b"X: y\r\n" * 10_000),
        (b"GET /", b"a" * 60_000),
        (chunked, b"1\r\na\r\n" * 5_000),
        (chunked, b"10000\r\n" + b"a" * 65536 + b"\r\n"),
        (chunked + b"5;", b"x" * 60_000),
        (POST + b"Content-Length: 99999999999\r\n\r\n", b"a" * 60_000),
        (chunked.replace(b"predict", b"nowhere"), b"10000\r\n" + b"a" * 65536 + b"\r\n"),
    ]
    return [
        *[lambda beginning=beginning, drop=drop: _drip(attack, beginning, drop) for beginning, drop in drips],
        *[lambda beginning=beginning, wave=wave: _flood(attack, beginning, wave) for beginning, wave in floods],
        lambda: _take_nothing(attack),
    ]
