"""The load generator sends every picture in turn, and counts what fails."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.target import BodyFormat, BodyKind, Target
from bench.wrk import Load, run_wrk, write_requests, wrk_program

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]"
FAILURE = b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
PICTURES = [b"\xff\xd8" + bytes([number]) * 3000 for number in range(20)]
needs_wrk = pytest.mark.needs("wrk")


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


def load(port: int, directory: Path, clients: int = 4, body: BodyFormat | None = None) -> Load:
    target = Target(port, "/predict", body or BodyFormat(), {"Authorization": "Bearer token"})
    write_requests(directory, target, PICTURES)
    return run_wrk(target, directory, clients, 1)


@needs_wrk
@pytest.mark.parametrize("kind", ["raw", "multipart", "base64-json", "v2-binary"])
def test_requests_in_every_form_are_answered(tmp_path: Path, kind: BodyKind) -> None:
    with idle_server() as server:
        measured = load(server.port, tmp_path, body=BodyFormat(kind))
        assert measured.ok == measured.requests > 100
        assert measured.failures == 0
        assert 0 < measured.p50_ms <= measured.p90_ms <= measured.p99_ms
        expected = {BodyFormat(kind).encode(picture)[0] for picture in PICTURES}
        assert server.bodies == expected
        assert b"Authorization: Bearer token" in server.last_head


@needs_wrk
def test_errors_are_failures_and_no_throughput(tmp_path: Path) -> None:
    with idle_server(fail_every=4) as server:
        measured = load(server.port, tmp_path)
    assert measured.status_errors == pytest.approx(measured.requests / 4, rel=0.05)
    assert measured.ok == measured.requests - measured.status_errors
    assert measured.failures == measured.status_errors
    assert measured.per_second == pytest.approx(measured.ok / measured.seconds)


@needs_wrk
def test_server_that_is_away_is_an_error(tmp_path: Path) -> None:
    with idle_server() as server:
        port = server.port
    with pytest.raises(BenchError, match="wrk failed"):
        load(port, tmp_path)


def test_missing_wrk_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(BenchError, match="apt-get install wrk"):
        wrk_program()
