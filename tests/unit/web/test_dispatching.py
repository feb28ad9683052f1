"""Pictures wait in the service, and go to TorchServe in groups."""

from __future__ import annotations

import asyncio
import re
import struct

import pytest
from aiohttp import web

from tests.unit.web.fake_torchserve import WITHOUT_GROUPS, FakeTorchServe, java_error
from tests.unit.web.service import Reply, Service, StartService, until

pytestmark = pytest.mark.anyio


class Gate:
    """Has workers wait with their answers until it opens."""

    def __init__(self, torchserve: FakeTorchServe) -> None:
        self._torchserve = torchserve
        self.opened = asyncio.Event()
        torchserve.behaviour = self.answer

    async def answer(self, request: web.Request, picture: bytes) -> web.StreamResponse:
        await self.opened.wait()
        return await self._torchserve.answer(request, picture)

    async def fill(self, service: Service) -> list[asyncio.Task[Reply]]:
        """Keep the one worker busy, with the next picture at hand."""
        tasks = []
        for index in range(2):
            tasks.append(asyncio.create_task(service.post("/classify", b"first %d" % index)))
            await self.sent(index + 1)
        return tasks

    async def sent(self, count: int) -> None:
        async def are_sent() -> bool:
            return len(self._torchserve.pictures) >= count

        await until(are_sent)


async def waiting(service: Service, count: int) -> None:
    await service.until_metric('web_queue_pictures{model="resnet18",version="1.0"}', count)


def start(service: Service, *pictures: bytes, **options: object) -> list[asyncio.Task[Reply]]:
    return [asyncio.create_task(service.post("/classify", picture, **options)) for picture in pictures]


async def test_answer_says_how_long_it_waited_and_how_many_were_in_its_group(
    service: Service, torchserve: FakeTorchServe
) -> None:
    gate = Gate(torchserve)
    first = await gate.fill(service)
    tasks = start(service, *(b"picture %d" % index for index in range(8)))
    await waiting(service, 8)
    await asyncio.sleep(0.05)
    gate.opened.set()
    alone, *_ = await asyncio.gather(*first)
    waited, *_ = await asyncio.gather(*tasks)
    lone, grouped = (
        {
            name: (float(duration or 0), int(pictures or 0))
            for name, duration, pictures in re.findall(
                r"(\w+);(?:dur=([\d.]+))?;?(?:desc=(\d+))?", reply.headers["Server-Timing"]
            )
        }
        for reply in (alone, waited)
    )
    assert lone.keys() == grouped.keys() == {"queue", "group", "company", "worker"}
    assert (lone["group"][1], grouped["group"][1]) == (1, 8)
    assert lone["company"][1] == 1
    assert lone["group"][0] >= 50 > lone["queue"][0]
    assert grouped["queue"][0] >= 50
    known = await service.post("/classify", b"picture 0")
    assert "Server-Timing" not in known.headers


async def test_what_waits_goes_together_and_each_gets_its_own_answer(
    service: Service, torchserve: FakeTorchServe
) -> None:
    gate = Gate(torchserve)
    first = await gate.fill(service)
    tasks = start(service, *(b"picture %d" % index for index in range(12)))
    await waiting(service, 12)
    gate.opened.set()
    replies = await asyncio.gather(*first, *tasks)
    assert [reply.status for reply in replies] == [200] * 14
    assert len({reply.json["predictions"][0]["label"] for reply in replies}) == 14
    assert torchserve.groups[-2:] == [8, 4]
    assert await service.metric('web_group_pictures_count{model="resnet18",version="1.0"}') >= 4
    assert await service.metric('web_queue_seconds_count{model="resnet18",priority="interactive",version="1.0"}') >= 14


def declared(side: int, number: int) -> bytes:
    """The beginning of a PNG of ``side`` squared."""
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBB", 13, b"IHDR", side, side, 8, 2) + b"%d" % number


async def test_a_small_file_of_many_pixels_goes_alone(service: Service, torchserve: FakeTorchServe) -> None:
    gate = Gate(torchserve)
    first = await gate.fill(service)
    tasks = start(service, *(declared(40 if index < 4 else 4000, index) for index in range(8)))
    await waiting(service, 8)
    gate.opened.set()
    assert {reply.status for reply in await asyncio.gather(*first, *tasks)} == {200}
    sent = iter(torchserve.pictures)
    groups = [[next(sent) for _ in range(size)] for size in torchserve.groups]
    assert max(map(len, groups)) > 1
    assert not [group for group in groups if len(group) > 1 and any(b"\x0f\xa0" in picture for picture in group)]


async def test_a_refused_picture_leaves_its_group_untouched(service: Service, torchserve: FakeTorchServe) -> None:
    gate = Gate(torchserve)
    first = await gate.fill(service)

    async def refuse(request: web.Request, picture: bytes) -> web.StreamResponse:
        if picture == b"bad":
            error = {"code": 400, "type": "InvalidImage", "message": "The picture is damaged."}
            return web.json_response(error, status=400)
        return await gate.answer(request, picture)

    torchserve.behaviour = refuse
    tasks = start(service, b"good 1", b"bad", b"good 2")
    await waiting(service, 3)
    gate.opened.set()
    await asyncio.gather(*first)
    assert [reply.status for reply in await asyncio.gather(*tasks)] == [200, 400, 200]
    assert torchserve.groups[-1] == 3


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(lambda: java_error(500, "InternalServerException", "Worker died."), id="worker dies"),
        pytest.param(lambda: java_error(507, "OutOfMemoryError", "x"), id="no memory"),
        pytest.param(lambda: java_error(503, "InternalServerException", "Prediction failed"), id="handler raises"),
    ],
)
async def test_a_picture_that_fails_its_group_fails_alone(
    service: Service, torchserve: FakeTorchServe, failure: object
) -> None:
    gate = Gate(torchserve)
    first = await gate.fill(service)
    now, most = 0, 0

    async def fail(request: web.Request, picture: bytes) -> web.StreamResponse:
        nonlocal now, most
        await gate.opened.wait()
        now += 1
        most = max(most, now if picture == b"killer" and gate_is_past else 0)
        await asyncio.sleep(0.01)
        now -= 1
        if picture == b"killer":
            return failure()  # type: ignore[operator, no-any-return]
        return await torchserve.answer(request, picture)

    gate_is_past = False
    torchserve.behaviour = fail
    tasks = start(service, b"good 1", b"killer", b"good 2", b"good 3")
    await waiting(service, 4)
    gate.opened.set()
    await asyncio.gather(*first)
    while torchserve.groups[-1] != 4:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.015)
    gate_is_past = True
    tasks += start(service, *(b"more %d" % index for index in range(8)))
    replies = await asyncio.gather(*tasks)
    assert [reply.status for reply in replies] == [200, replies[1].status, *[200] * 10]
    assert replies[1].status in {422, 502, 503}
    assert most <= 1, "nothing else is at a worker with it"


async def test_what_nobody_waits_for_any_more_is_never_sent(service: Service, torchserve: FakeTorchServe) -> None:
    gate = Gate(torchserve)
    first = await gate.fill(service)
    left, stays = start(service, b"left", b"stays")
    await waiting(service, 2)
    left.cancel()
    await asyncio.sleep(0.1)
    gate.opened.set()
    await asyncio.gather(*first)
    assert (await stays).status == 200
    assert b"left" not in torchserve.pictures
    assert await service.metric('web_unsent_total{model="resnet18",reason="left",version="1.0"}') == 1
    for given_up in ("before_sending", "at_worker"):
        labels = f'given_up="{given_up}",model="resnet18",version="1.0"'
        assert await service.metric("web_computed_in_vain_total{" + labels + "}") == 0


async def test_what_a_worker_had_when_its_caller_left_is_counted(service: Service, torchserve: FakeTorchServe) -> None:
    gate = Gate(torchserve)
    reply = await service.post("/classify", b"first 0", headers={"X-Request-Timeout-Ms": "100"})
    assert (reply.status, reply.json["type"]) == (504, "DeadlineExceeded")
    gate.opened.set()
    labels = 'given_up="at_worker",model="resnet18",version="1.0"'
    await service.until_metric("web_computed_in_vain_total{" + labels + "}", 1)


async def test_who_joins_keeps_a_picture_that_the_first_caller_leaves(
    service: Service, torchserve: FakeTorchServe
) -> None:
    gate = Gate(torchserve)
    first = await gate.fill(service)
    (one,) = start(service, b"same")
    await waiting(service, 1)
    (other,) = start(service, b"same")
    await service.until_metric('web_cache_lookups_total{result="coalesced"}', 1)
    one.cancel()
    await asyncio.sleep(0.05)
    gate.opened.set()
    assert (await other).status == 200
    await asyncio.gather(*first)
    assert torchserve.pictures.count(b"same") == 1


async def test_expired_in_the_queue_is_503_with_retry_after(service: Service, torchserve: FakeTorchServe) -> None:
    gate = Gate(torchserve)
    first = await gate.fill(service)
    reply = await service.post("/classify", b"hurried", headers={"X-Request-Timeout-Ms": "60"})
    assert (reply.status, reply.json["type"]) == (503, "WouldBeLate")
    assert int(reply.headers["Retry-After"]) >= 1
    await waiting(service, 0)
    gate.opened.set()
    await asyncio.gather(*first)
    assert b"hurried" not in torchserve.pictures


async def test_what_is_known_to_be_late_is_refused_at_once(service: Service, torchserve: FakeTorchServe) -> None:
    torchserve.worker_us = 200_000
    assert (await service.post("/classify", b"to learn from")).status == 200
    reply = await service.post("/classify", b"hurried", headers={"X-Request-Timeout-Ms": "50"})
    assert (reply.status, reply.json["type"]) == (503, "WouldBeLate")
    assert "Retry-After" not in reply.headers, "nothing waits: it would always be late"
    assert b"hurried" not in torchserve.pictures
    assert await service.metric('web_unsent_total{model="resnet18",reason="deadline",version="1.0"}') == 1


async def test_bulk_waits_for_the_others(service: Service, torchserve: FakeTorchServe) -> None:
    gate = Gate(torchserve)
    first = await gate.fill(service)
    bulk = start(service, b"bulk", headers={"X-Priority": "bulk"})
    await waiting(service, 1)
    others = start(service, b"other")
    await waiting(service, 2)
    gate.opened.set()
    await asyncio.gather(*first, *bulk, *others)
    assert torchserve.pictures[-2:] == [b"other", b"bulk"]


async def test_archive_without_groups_is_sent_single_pictures(
    start_service: StartService, torchserve: FakeTorchServe
) -> None:
    torchserve.archives["resnet18", "1.0"] = WITHOUT_GROUPS
    service = await start_service()
    replies = await asyncio.gather(*start(service, *(b"picture %d" % index for index in range(40))))
    assert {reply.status for reply in replies} == {200}
    assert torchserve.groups == []


async def test_bytes_that_wait_are_bounded(start_service: StartService, torchserve: FakeTorchServe) -> None:
    service = await start_service(max_waiting_bytes=1000)
    gate = Gate(torchserve)
    tasks = start(service, bytes(600))
    await gate.sent(1)
    reply = await service.post("/classify", b"1" * 600)
    assert (reply.status, reply.json["type"]) == (503, "Overloaded")
    gate.opened.set()
    assert (await tasks[0]).status == 200
    assert (await service.post("/classify", b"1" * 600)).status == 200
