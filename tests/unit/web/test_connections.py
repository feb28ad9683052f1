"""Crowds of connections, and processes that have few file descriptors."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from marserve.web.connections import MAX_CONNECTIONS, Places, most_connections, raise_descriptor_limit
from tests.unit.web.fake_torchserve import FakeTorchServe
from tests.unit.web.service import SOON_S, until
from tests.unit.web.test_process import free_port, status_of

pytestmark = pytest.mark.anyio

GET = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"


class Idle:
    def __init__(self, places: Places) -> None:
        self.is_gone = False
        self._places = places

    def give_way(self) -> None:
        self.is_gone = True
        self._places.leave(self)


def test_the_one_that_is_idle_for_longest_gives_way() -> None:
    places = Places(3)
    first, _, third, fourth, fifth = crowd = [Idle(places) for _ in range(5)]
    assert all(map(places.enter, crowd[:3]))
    places.begin(first)
    assert places.enter(fourth)
    assert [one.is_gone for one in crowd] == [False, True, False, False, False]
    places.rest(first)
    assert places.enter(fifth)
    assert third.is_gone
    assert places.taken == 3


def test_where_all_have_a_request_at_work_the_new_one_goes() -> None:
    places = Places(2)
    crowd = [Idle(places) for _ in range(3)]
    for one in crowd[:2]:
        places.enter(one)
        places.begin(one)
    assert not places.enter(crowd[2])
    places.leave(crowd[2])
    places.leave(crowd[0])
    assert places.enter(crowd[2])


@pytest.mark.parametrize(
    ("descriptors", "most"), [(64, 16), (256, 64), (1024, 640), (4096, 3456), (65_536, MAX_CONNECTIONS)]
)
def test_descriptors_are_left_for_torchserve_and_files(descriptors: int, most: int) -> None:
    assert most_connections(descriptors, max_in_flight=512) == most


def test_the_limit_is_raised_as_far_as_the_system_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: given.append(limits))
    for limits, wanted in [((1024, 4096), 4096), ((1024, 10**9), 65_536), ((1024, resource.RLIM_INFINITY), 65_536)]:
        monkeypatch.setattr(resource, "getrlimit", lambda _, limits=limits: limits)
        assert raise_descriptor_limit() == wanted
        assert given.pop() == (wanted, limits[1])
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100_000, 200_000))
    assert raise_descriptor_limit() == 100_000
    assert not given


@asynccontextmanager
async def process_with(descriptors: int, torchserve: FakeTorchServe) -> AsyncIterator[int]:
    """The port of a service that has so many file descriptors."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", f'ulimit -n {descriptors} && exec "$0" -m marserve.web', sys.executable,
        env={
            "PATH": os.environ["PATH"], "MARSERVE_WEB_PORT": str(port), "MARSERVE_MAX_IN_FLIGHT": "8",
            "MARSERVE_INFERENCE_URL": torchserve.url, "MARSERVE_MANAGEMENT_URL": torchserve.url,
        },
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with aiohttp.ClientSession() as session:
        while await status_of(session, f"http://127.0.0.1:{port}/readyz") != 200:
            assert process.returncode is None
            await asyncio.sleep(0.05)
    yield port
    process.terminate()
    output, _ = await process.communicate()
    assert process.returncode == 0
    assert output.count(b"\n") < 200, "a crowd floods no log"


async def test_a_crowd_of_idle_connections_keeps_nobody_out(torchserve: FakeTorchServe) -> None:
    async with process_with(192, torchserve) as port:
        crowd = [await asyncio.open_connection("127.0.0.1", port) for _ in range(400)]
        for number in range(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            body = b"picture %d" % number
            writer.write(b"POST /classify HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 200")
            writer.close()
        gone = await asyncio.gather(
            *(asyncio.wait_for(reader.read(), 5) for reader, _ in crowd[:300]), return_exceptions=True
        )
        assert all(answer == b"" or isinstance(answer, ConnectionError) for answer in gone), "the oldest gave way"
        reader, writer = crowd[-1]
        writer.write(GET)
        assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 200")
        for _, writer in crowd:
            writer.close()


async def test_more_requests_at_work_than_there_may_be_connections_are_told(torchserve: FakeTorchServe) -> None:
    async with process_with(192, torchserve) as port:
        begun = []
        for _ in range(100):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST /classify HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nbegun")
            begun.append((reader, writer))
        told = [asyncio.create_task(reader.readuntil(b"\r\n\r\n")) for reader, _ in begun]
        refused, waiting = await asyncio.wait(told, timeout=SOON_S, return_when=asyncio.FIRST_COMPLETED)
        assert refused
        assert all(
            task.result().startswith(b"HTTP/1.1 503 ") and b"retry-after: 1\r\n" in task.result() for task in refused
        )
        for task in waiting:
            task.cancel()
        await asyncio.wait(told)
        for _, writer in begun:
            writer.close()
        async with aiohttp.ClientSession() as session:

            async def has_room() -> bool:
                return await status_of(session, f"http://127.0.0.1:{port}/healthz") == 200

            await until(has_room)
