"""The double reads groups as the handler does: what fails one picture fails it alone, what fails a worker fails all."""

from __future__ import annotations

import struct

import aiohttp
import pytest
from aiohttp import web

from tests.unit.web.fake_torchserve import FakeTorchServe, java_error, predictions_for

pytestmark = pytest.mark.anyio

GROUP = b"".join(struct.pack("<II", top_k, len(picture)) + picture for top_k, picture in ((1, b"one"), (3, b"other")))


async def send(torchserve: FakeTorchServe) -> tuple[int, bytes]:
    headers = {"Content-Type": "application/x-picture-group", "X-Request-ID": "a"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{torchserve.url}/predictions/resnet18/1.0", data=GROUP, headers=headers) as answer,
    ):
        return answer.status, await answer.read()


async def test_each_picture_of_a_group_has_its_own_answer(torchserve: FakeTorchServe) -> None:
    async def answer(request: web.Request, picture: bytes) -> web.StreamResponse:
        return web.json_response(
            {"top_k": request.headers["X-Top-K"], "predictions": predictions_for(picture, 1)},
            status=415 if picture == b"one" else 200,
        )

    torchserve.behaviour = answer
    status, body = await send(torchserve)
    assert (status, struct.unpack_from("<I", body)) == (200, (torchserve.worker_us,))
    first, length = struct.unpack_from("<II", body, 4)
    second, last = struct.unpack_from("<II", body, 12 + length)
    assert (first, second, 20 + length + last) == (415, 200, len(body))
    assert b'"top_k": "3"' in body[20 + length :]
    assert (torchserve.pictures, torchserve.groups) == ([b"one", b"other"], [2])
    assert [headers["X-Top-K"] for headers in torchserve.headers] == ["1", "3"]


async def test_a_death_takes_the_whole_group(torchserve: FakeTorchServe) -> None:
    async def die(request: web.Request, picture: bytes) -> web.StreamResponse:
        if picture == b"other":
            return java_error(500, "InternalServerException", "Worker died.")
        return await torchserve.answer(request, picture)

    torchserve.behaviour = die
    status, body = await send(torchserve)
    assert (status, b"Worker died." in body) == (500, True)
