"""A closed loop keeps its clients busy; no answer comes from a cache; what the service says of itself is kept."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import uvloop

from marserve.plan.generator import AGAIN_S, MARK, Generator
from marserve.plan.load import LoadError, LoadJob, OpenLoad, run_load, write_requests

ANSWER = b"HTTP/1.1 200 OK\r\nServer-Timing: worker;dur=%d\r\nContent-Length: 2\r\n\r\n[]"


class Answering:
    """A server that answers each request after ``takes_s``, and says which number it was."""

    def __init__(self, takes_s: float = 0.0) -> None:
        self.bodies: list[bytes] = []
        self.at_once = self.most_at_once = 0
        self._takes_s = takes_s

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                self.bodies.append(await reader.readexactly(length))
                number = len(self.bodies)
                self.at_once += 1
                self.most_at_once = max(self.most_at_once, self.at_once)
                await asyncio.sleep(self._takes_s)
                self.at_once -= 1
                writer.write(ANSWER % number)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


async def listening(server: Answering) -> asyncio.Server:
    return await asyncio.start_server(server.serve, "127.0.0.1", 0)


def port_of(server: asyncio.Server) -> int:
    return int(server.sockets[0].getsockname()[1])


def test_each_client_of_a_closed_loop_has_one_request_after_the_other() -> None:
    answering = Answering(0.01)

    async def both() -> Generator:
        async with await listening(answering) as server:
            request = b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n00"
            generator = Generator(port_of(server), [request], clients=3, seconds=0.3)
            await generator.run()
            return generator

    generator = uvloop.run(both())
    assert answering.most_at_once == generator.connections == 3
    assert generator.status == [200] * len(answering.bodies)
    assert 3 < len(answering.bodies) <= 3 * 31
    assert all(
        due <= sent <= done for due, sent, done in zip(generator.due, generator.sent, generator.answered, strict=True)
    )


def test_clients_that_nobody_answers_do_not_try_without_a_pause() -> None:
    async def alone() -> Generator:
        generator = Generator(9, [b"x"], clients=2, seconds=4 * AGAIN_S)  # the port "discard"
        await generator.run()
        return generator

    generator = uvloop.run(alone())
    assert generator.status == [0] * len(generator.due)
    assert len(generator.due) <= 2 * 5


def test_marked_requests_are_all_different_and_as_long_as_they_say(tmp_path: Path) -> None:
    answering = Answering()
    body = b"before " + MARK + b" after"

    async def both() -> list[OpenLoad]:
        async with await listening(answering) as server:
            write_requests(tmp_path, "POST", "/predict", {}, [body])
            job = LoadJob(port_of(server), str(tmp_path), due=[0.01, 0.02, 0.03], keeps="Server-Timing")
            return [await asyncio.to_thread(run_load, job) for _ in range(2)]

    loads = uvloop.run(both())
    assert len(set(answering.bodies)) == 6
    assert all(len(sent) == len(body) for sent in answering.bodies)
    assert all(sent.startswith(b"before ") and sent.endswith(b" after") for sent in answering.bodies)
    assert sorted(timing for load in loads for timing in load.kept) == [
        f"worker;dur={number}" for number in range(1, 7)
    ]


def test_process_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="head"):
        run_load(LoadJob(9, str(tmp_path), due=[0.01]))
