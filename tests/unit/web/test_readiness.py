"""/readyz tells the truth, and so soon."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from marserve.web import catalogue, readiness
from tests.unit.web.fake_torchserve import FakeTorchServe, java_error
from tests.unit.web.service import Service, StartService, until

pytestmark = pytest.mark.anyio

SILENT_S = 2.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a quarter of the time, of which a pause of a busy machine is a small part."""
    monkeypatch.setattr(catalogue, "REFRESH_S", 0.1)
    monkeypatch.setattr(catalogue, "STALE_S", 2.0)
    monkeypatch.setattr(readiness, "PROBE_AFTER_S", 0.3)
    monkeypatch.setattr(readiness, "PROBE_TIMEOUT_S", 1.0)
    monkeypatch.setattr(readiness, "SILENT_S", SILENT_S)
    monkeypatch.setattr(readiness, "PAUSE_S", 0.1)


async def becomes(service: Service, status: int, reason: str = "") -> None:
    """Wait until /readyz answers ``status``, with ``reason`` among its reasons: chance orders them."""

    async def is_so() -> bool:
        reply = await service.get("/readyz")
        if reply.status != status:
            return False
        assert status == 200 or reply.headers["Retry-After"] == "5"
        return not reason or any(reason in given for given in reply.json["reasons"])

    await until(is_so)


async def hang(request: web.Request, picture: bytes) -> web.StreamResponse:
    await asyncio.sleep(60)
    return web.Response()


async def fail(request: web.Request, picture: bytes) -> web.StreamResponse:
    return java_error(500, "InternalServerException", "Worker died.")


async def test_dead_worker_is_noticed_and_its_return_too(service: Service, torchserve: FakeTorchServe) -> None:
    torchserve.worker_status = "UNLOADING"
    await becomes(service, 503, "No worker of resnet18 1.0 is READY.")
    assert (await service.get("/models")).json["models"][0]["ready"] is False
    torchserve.worker_status = "READY"
    await becomes(service, 200)


@pytest.mark.parametrize("behaviour", [hang, fail])
async def test_worker_that_is_called_ready_but_does_not_answer_is_noticed(
    service: Service, torchserve: FakeTorchServe, behaviour: object
) -> None:
    torchserve.behaviour = behaviour  # type: ignore[assignment]
    await becomes(service, 503, "has not answered a picture")
    torchserve.behaviour = torchserve.answer
    await becomes(service, 200)


async def test_stopped_torchserve_is_noticed_and_its_return_too(service: Service, torchserve: FakeTorchServe) -> None:
    port = torchserve.port
    await torchserve.stop()
    await becomes(service, 503, "TorchServe does not answer.")
    assert (await service.get("/v2/health/ready")).status == 503
    assert (await service.get("/healthz")).status == 200
    await torchserve.start(port)
    await becomes(service, 200)


@pytest.mark.parametrize("change", ["pid", "start"])
async def test_workers_that_have_answered_nothing_yet_are_not_ready_by_what_those_before_answered(
    service: Service, torchserve: FakeTorchServe, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """They are new within the time for which an answer counts; in a container's next start they have the same ids."""
    monkeypatch.setattr(readiness, "SILENT_S", 60)
    await becomes(service, 200)
    torchserve.behaviour = hang
    if change == "pid":
        torchserve.workers = [101]
    else:
        torchserve.started = "2026-11-24T15:26:00.431Z"
    await becomes(service, 503, "has not answered a picture")
    torchserve.behaviour = torchserve.answer
    await becomes(service, 200)


async def test_one_worker_that_is_replaced_leaves_the_others_ready(
    service: Service, torchserve: FakeTorchServe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "SILENT_S", 60)
    torchserve.workers = [100, 101]
    await becomes(service, 200)
    await asyncio.sleep(0.3)
    torchserve.behaviour = hang
    torchserve.workers = [101, 102]
    for _ in range(10):
        assert (await service.get("/readyz")).status == 200
        await asyncio.sleep(0.05)


async def test_frozen_torchserve_is_noticed(service: Service, torchserve: FakeTorchServe) -> None:
    torchserve.is_frozen = True
    torchserve.behaviour = hang
    await becomes(service, 503, "TorchServe does not answer.")


async def test_idle_service_stays_ready_by_asking_itself(service: Service, torchserve: FakeTorchServe) -> None:
    await asyncio.sleep(SILENT_S + 1)
    assert (await service.get("/readyz")).status == 200
    assert torchserve.pictures == []


async def test_busy_service_is_not_probed(
    service: Service, torchserve: FakeTorchServe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "PROBE_AFTER_S", 1.0)
    probes = 0

    async def count(request: web.Request, picture: bytes) -> web.StreamResponse:
        nonlocal probes
        probes += request.headers["X-Request-ID"] == "readiness"
        return await torchserve.answer(request, picture)

    torchserve.behaviour = count
    for i in range(20):
        await service.post("/classify", bytes([i]))
        await asyncio.sleep(0.1)
    assert probes == 0


async def test_model_that_fails_makes_only_itself_unready(
    start_service: StartService, torchserve: FakeTorchServe
) -> None:
    torchserve.archives["other", "1.0"] = torchserve.archives["resnet18", "1.0"]
    torchserve.default_versions["other"] = "1.0"
    service = await start_service()

    async def fail_other(request: web.Request, picture: bytes) -> web.StreamResponse:
        return await (hang if request.match_info["model"] == "other" else torchserve.answer)(request, picture)

    torchserve.behaviour = fail_other

    async def only_other_is_unready() -> bool:
        other, all_of_it, resnet18 = [
            await service.get(path) for path in ("/v2/models/other/ready", "/readyz", "/v2/models/resnet18/ready")
        ]
        return (other.status, all_of_it.status, resnet18.json) == (503, 200, {"name": "resnet18", "ready": True})

    await until(only_other_is_unready)
