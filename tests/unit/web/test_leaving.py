"""Who leaves while a picture waits costs no worker anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from tests.unit.web.fake_torchserve import FakeTorchServe
from tests.unit.web.service import Service, until

pytestmark = pytest.mark.anyio


@pytest.fixture
async def busy(service: Service, torchserve: FakeTorchServe) -> AsyncIterator[asyncio.Event]:
    """All workers have work until this is set, and as much is on its way to them as ever is."""
    is_free = asyncio.Event()

    async def answer_later(request: web.Request, picture: bytes) -> web.StreamResponse:
        await is_free.wait()
        return await torchserve.answer(request, picture)

    torchserve.behaviour = answer_later
    first = [asyncio.create_task(service.post("/predict", b"first %d" % number)) for number in range(4)]

    async def all_are_busy() -> bool:
        return len(torchserve.groups) == len(torchserve.workers) + 1

    await until(all_are_busy)
    yield is_free
    is_free.set()
    assert {(await reply).status for reply in first} == {200}


async def send(service: Service, picture: bytes) -> asyncio.StreamWriter:
    host, port = service.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /predict HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n%b" % (len(picture), picture))
    await writer.drain()
    return writer


@pytest.mark.parametrize("how", ["close", "abort"])
async def test_the_picture_of_a_caller_that_has_left_is_never_computed(
    service: Service, torchserve: FakeTorchServe, busy: asyncio.Event, how: str
) -> None:
    leaving = await send(service, b"left alone")
    staying = asyncio.create_task(service.post("/predict", b"stays"))
    # Both pictures wait.
    await until(lambda: waits(service, 6))
    leaving.close() if how == "close" else leaving.transport.abort()
    last = asyncio.create_task(service.post("/predict", b"after it"))
    await until(lambda: waits(service, 7))
    busy.set()
    assert ((await staying).status, (await last).status) == (200, 200)
    assert b"left alone" not in torchserve.pictures
    assert {b"stays", b"after it"} < set(torchserve.pictures)


async def waits(service: Service, pictures: int) -> bool:
    return await service.metric("web_requests_in_flight") == pictures


async def test_the_picture_of_two_is_computed_for_the_one_that_stays(
    service: Service, torchserve: FakeTorchServe, busy: asyncio.Event
) -> None:
    leaving = await send(service, b"shared")
    await until(lambda: waits(service, 5))
    staying = asyncio.create_task(service.post("/predict", b"shared"))
    await until(lambda: waits(service, 6))
    leaving.close()
    busy.set()
    assert (await staying).status == 200
    assert torchserve.pictures.count(b"shared") == 1
