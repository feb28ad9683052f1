"""TorchServe ends, hangs and comes back under the requests that it has."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from tests.unit.web.fake_torchserve import TRAINED, FakeTorchServe
from tests.unit.web.service import Service, StartService, until

pytestmark = pytest.mark.anyio


async def break_off(request: web.Request, picture: bytes) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.close()
    return web.Response()


@asynccontextmanager
async def ended(torchserve: FakeTorchServe) -> AsyncIterator[None]:
    """While it is away."""
    port = torchserve.port
    await asyncio.sleep(0.1)  # a connection that is just being accepted would stay open
    await torchserve.stop()
    yield
    await torchserve.start(port)


async def test_what_torchserve_had_when_it_ended_is_answered_once_it_is_back(
    start_service: StartService, torchserve: FakeTorchServe, tmp_path: Path
) -> None:
    """With new tokens, workers and another default."""
    torchserve.require_tokens(tmp_path / "key_file.json")
    torchserve.archives["resnet18", "2.0"] = {**TRAINED, "inputs_sha256": "b" * 64}
    service = await start_service()
    arrived = asyncio.Event()

    async def never(request: web.Request, picture: bytes) -> web.StreamResponse:
        arrived.set()
        await asyncio.sleep(60)
        return web.Response()

    torchserve.behaviour = never
    asked = [asyncio.create_task(service.post("/classify", b"picture %d" % number)) for number in range(12)]
    await arrived.wait()
    async with ended(torchserve):
        late = await service.post("/classify", b"came while it is away")
        assert (late.status, late.json["type"], late.headers["Retry-After"]) == (503, "ModelUnavailable", "5")
        assert (await service.get("/healthz")).status == 200
        await asyncio.sleep(1)
        assert not any(task.done() for task in asked)
        torchserve.require_tokens(tmp_path / "key_file.json")
        torchserve.default_versions["resnet18"] = "2.0"
        torchserve.workers = [200]
        torchserve.behaviour = torchserve.answer
    replies = await asyncio.gather(*asked)
    assert {reply.status for reply in replies} == {200}
    assert len({reply.json["predictions"][0]["label"] for reply in replies}) == 12

    async def answers_by_default() -> bool:
        return (await service.post("/classify", b"new")).headers.get("X-Model-Version") == "2.0"

    await until(answers_by_default)


async def test_what_torchserve_had_is_answered_within_its_time_where_it_stays_away(
    service: Service, torchserve: FakeTorchServe
) -> None:
    arrived = asyncio.Event()

    async def never(request: web.Request, picture: bytes) -> web.StreamResponse:
        arrived.set()
        await asyncio.sleep(60)
        return web.Response()

    torchserve.behaviour = never
    began = time.monotonic()
    headers = {"X-Request-Timeout-Ms": "2000"}
    asked = [asyncio.create_task(service.post("/classify", bytes([number]), headers=headers)) for number in range(12)]
    await arrived.wait()
    async with ended(torchserve):
        for reply in await asyncio.gather(*asked):
            assert (reply.status, reply.json["type"], reply.headers["Retry-After"]) == (503, "ModelUnavailable", "5")
        assert time.monotonic() - began < 4
        torchserve.behaviour = torchserve.answer
    assert (await service.post("/classify", b"new")).status == 200


async def test_a_picture_under_which_torchserve_itself_ends_each_time_is_given_up(
    service: Service, torchserve: FakeTorchServe
) -> None:
    torchserve.behaviour = break_off
    reply = await service.post("/classify", b"picture")
    assert (reply.status, reply.json["type"], reply.headers["Retry-After"]) == (503, "ModelUnavailable", "5")
    assert len(torchserve.pictures) == 6  # three times, each with one repetition for a stale connection


async def test_known_pictures_are_answered_while_torchserve_is_away_and_while_it_loads(
    service: Service, torchserve: FakeTorchServe
) -> None:
    assert (await service.post("/classify", b"known")).status == 200
    async with ended(torchserve):
        for _ in range(3):
            reply = await service.post("/classify", b"known")
            assert (reply.status, reply.headers["X-Cache"]) == (200, "hit")
            assert (await service.post("/classify", b"unknown")).status == 503
            await asyncio.sleep(0.5)
        torchserve.workers, torchserve.worker_status = [300], "UNLOADING"

    async def is_loading() -> bool:
        reasons = (await service.get("/readyz")).json["reasons"]
        return any("No worker" in reason for reason in reasons)

    await until(is_loading)
    reply = await service.post("/classify", b"known")
    assert (reply.status, reply.headers["X-Cache"]) == (200, "hit")
    torchserve.archives["resnet18", "1.0"] = {**TRAINED, "inputs_sha256": "b" * 64}
    torchserve.worker_status = "READY"

    async def asks_again() -> bool:
        return (await service.post("/classify", b"known")).headers["X-Cache"] == "miss"

    await until(asks_again)


async def test_service_that_starts_before_a_hanging_torchserve_says_so_and_recovers(
    start_service: StartService, torchserve: FakeTorchServe
) -> None:
    torchserve.is_frozen = True
    service = await start_service()
    reply = await service.post("/classify", b"picture")
    assert (reply.status, reply.json["type"], reply.headers["Retry-After"]) == (503, "ModelUnavailable", "5")
    ready = await service.get("/readyz")
    assert (ready.status, ready.json["reasons"]) == (503, ["TorchServe serves no model, or does not answer."])
    assert (await service.get("/healthz")).status == 200
    torchserve.is_frozen = False

    async def works() -> bool:
        return (await service.post("/classify", b"picture")).status == 200

    await until(works)


async def test_a_torchserve_that_hangs_costs_callers_no_more_time_once_that_is_known(
    service: Service, torchserve: FakeTorchServe
) -> None:
    async def never(request: web.Request, picture: bytes) -> web.StreamResponse:
        await asyncio.sleep(60)
        return web.Response()

    assert (await service.post("/classify", b"known")).status == 200
    torchserve.is_frozen, torchserve.behaviour = True, never

    async def is_refused_at_once() -> bool:
        began = time.monotonic()
        reply = await service.post("/classify", b"picture", headers={"X-Request-Timeout-Ms": "1000"})
        assert reply.status in {503, 504}
        assert "Retry-After" in reply.headers
        return time.monotonic() - began < 0.3 and reply.json["type"] == "ModelUnavailable"

    await until(is_refused_at_once)
    assert (await service.post("/classify", b"known")).status == 200
    torchserve.is_frozen, torchserve.behaviour = False, torchserve.answer

    async def works() -> bool:
        return (await service.post("/classify", b"picture")).status == 200

    await until(works)
