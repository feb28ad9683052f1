"""Pictures under which workers end, told from workers that end under any picture."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from marserve.torchserve.models import ModelVersion
from marserve.web.dispatch import lane
from marserve.web.metrics import WebMetrics
from marserve.web.models import ArchiveDescription, KnownModel
from marserve.web.quarantine import MAX_FILE_BYTES, MAX_PICTURES, Quarantine
from marserve.web.upstream.inference import PROBE
from tests.unit.web.fake_torchserve import TRAINED, Behaviour, FakeTorchServe, java_error
from tests.unit.web.service import Service, StartService, until, until_seen

pytestmark = pytest.mark.anyio

KILLER = b"killer"
#: Of callers who have gone when TorchServe ends a worker that hangs.
SOON = {"X-Request-Timeout-Ms": "700"}


def dies(status: int = 500) -> web.Response:
    return java_error(status, "InternalServerException", "Worker died.")


def killed_by(torchserve: FakeTorchServe, *, status: int = 500, each: Callable[[], None] = lambda: None) -> Behaviour:
    """Workers that end under KILLER; ``each`` is called when one does."""

    async def behave(request: web.Request, picture: bytes) -> web.StreamResponse:
        if picture != KILLER:
            return await torchserve.answer(request, picture)
        each()
        return dies(status)

    return behave


async def test_a_picture_that_ends_two_workers_is_refused_from_then_on(
    service: Service, torchserve: FakeTorchServe, caplog: pytest.LogCaptureFixture
) -> None:
    torchserve.behaviour = killed_by(torchserve)
    with caplog.at_level(logging.WARNING):
        first = await service.post("/classify", KILLER)
    assert (first.status, first.json["type"]) == (422, "PictureQuarantined")
    assert "Retry-After" not in first.headers
    assert torchserve.pictures == [KILLER] * 2
    assert any("refused from now on" in record.getMessage() for record in caplog.records)
    for path in ("/classify", "/predict", "/explain"):
        again = await service.post(path, KILLER)
        assert (again.status, again.json["type"], set(again.json)) == (422, "PictureQuarantined", set(first.json))
    assert torchserve.pictures == [KILLER] * 2, "nothing more was sent"
    assert (await service.post("/classify", b"good")).status == 200
    assert await service.metric("web_quarantined_pictures") == 1
    assert await service.metric('web_rejected_total{reason="quarantine"}') == 3


async def test_a_restarted_service_knows_it_and_another_archive_gets_another_chance(
    start_service: StartService, torchserve: FakeTorchServe, tmp_path: Path
) -> None:
    file = tmp_path / "quarantine.json"
    torchserve.behaviour = killed_by(torchserve)
    assert (await (await start_service(quarantine_file=file)).post("/classify", KILLER)).status == 422
    restarted = await start_service(quarantine_file=file)
    assert (await restarted.post("/classify", KILLER)).status == 422
    assert torchserve.pictures == [KILLER] * 2
    (kept,) = json.loads(file.read_bytes())["pictures"]
    assert (kept["model"], kept["archive"], kept["deaths"]) == ("resnet18", TRAINED["inputs_sha256"], 2)

    torchserve.archives["resnet18", "1.0"] = {**TRAINED, "inputs_sha256": "b" * 64}
    torchserve.workers = [200]
    torchserve.behaviour = torchserve.answer

    async def is_answered() -> bool:
        return (await restarted.post("/classify", KILLER)).status == 200

    await until(is_answered)


@pytest.mark.parametrize("attempts", [1, 3])
async def test_workers_that_were_killed_from_outside_condemn_nothing(
    service: Service, torchserve: FakeTorchServe, attempts: int
) -> None:
    """TorchServe says 507 where a worker ended by SIGKILL."""
    torchserve.behaviour = killed_by(torchserve, status=507)
    for _ in range(attempts):
        assert (await service.post("/classify", KILLER)).status == 503
    torchserve.behaviour = torchserve.answer
    assert (await service.post("/classify", KILLER)).status == 200


async def test_workers_that_end_under_everything_condemn_nothing(service: Service, torchserve: FakeTorchServe) -> None:
    async def die(request: web.Request, picture: bytes) -> web.StreamResponse:
        return dies()

    for _ in range(3):
        torchserve.behaviour = die
        assert (await service.post("/classify", b"innocent")).status == 503
        torchserve.behaviour = torchserve.answer
        assert (await service.post("/classify", b"other")).status == 200
    assert (await service.post("/classify", b"innocent")).status == 200


async def test_workers_that_are_scaled_away_condemn_nothing(service: Service, torchserve: FakeTorchServe) -> None:
    torchserve.workers = list(range(100, 110))

    async def ten_are_listed() -> bool:
        return await service.metric('web_model_workers{model="resnet18",state="listed",version="1.0"}') == 10

    await until(ten_are_listed)
    torchserve.behaviour = killed_by(torchserve, each=lambda: torchserve.workers.__delitem__(-1))
    assert (await service.post("/classify", KILLER)).status == 503
    torchserve.behaviour = torchserve.answer
    assert (await service.post("/classify", KILLER)).status == 200


async def test_a_death_that_an_answer_follows_is_forgotten(
    start_service: StartService, torchserve: FakeTorchServe, tmp_path: Path
) -> None:
    file = tmp_path / "quarantine.json"
    service = await start_service(quarantine_file=file)
    for number in range(4):
        deaths: list[None] = []

        async def die_once(request: web.Request, picture: bytes, deaths: list[None] = deaths) -> web.StreamResponse:
            if picture == KILLER and not deaths:
                deaths.append(None)
                return dies()
            return await torchserve.answer(request, picture)

        torchserve.behaviour = die_once
        assert (await service.post(f"/classify?top_k={number + 1}", KILLER)).status == 200
        assert json.loads(file.read_bytes()) == {"pictures": []}


async def test_deaths_of_several_requests_count_together(
    start_service: StartService, torchserve: FakeTorchServe, caplog: pytest.LogCaptureFixture
) -> None:
    """The first caller has no time for a second attempt."""
    service = await start_service()
    release = asyncio.Event()

    async def die_late(request: web.Request, picture: bytes) -> web.StreamResponse:
        if picture != KILLER:
            return await torchserve.answer(request, picture)
        await release.wait()
        return dies()

    torchserve.behaviour = die_late
    first = await service.post("/classify", KILLER, headers={"X-Request-Timeout-Ms": "250"})
    assert first.status in {503, 504}
    release.set()

    async def is_noted() -> bool:
        return "the first one" in caplog.text

    await until(is_noted)
    assert (await service.post("/classify", KILLER)).status == 422
    assert torchserve.pictures == [KILLER] * 2


async def test_where_another_picture_is_not_answered_either_a_suspect_is_not_sent_again(
    service: Service, torchserve: FakeTorchServe
) -> None:
    """Its caller is gone by then, and everybody else's pictures wait for it."""
    sent: list[bytes] = []

    async def hang_under_the_control(request: web.Request, picture: bytes) -> web.StreamResponse:
        sent.append(picture)
        if picture == KILLER:
            return dies()
        if picture == PROBE.picture:
            await asyncio.sleep(60)
        return await torchserve.answer(request, picture)

    torchserve.behaviour = hang_under_the_control
    reply = await service.post("/classify", KILLER, headers={"X-Request-Timeout-Ms": "500"})
    assert (reply.status, reply.json["type"]) == (504, "DeadlineExceeded")
    assert (await service.post("/classify", b"good")).status == 200
    assert [picture for picture in sent if picture != PROBE.picture] == [KILLER, b"good"]


async def hang_under(torchserve: FakeTorchServe, *pictures: bytes, seconds: float = 1.5) -> None:
    """TorchServe ends workers that hang under them, after all callers have gone."""
    torchserve.response_timeout_s = 5

    async def behave(request: web.Request, picture: bytes) -> web.StreamResponse:
        if picture not in pictures:
            return await torchserve.answer(request, picture)
        await asyncio.sleep(seconds)
        return dies()

    torchserve.behaviour = behave
    await until_seen(torchserve)


async def test_a_picture_under_which_two_workers_hang_is_refused_from_then_on(
    start_service: StartService, torchserve: FakeTorchServe, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    """Its callers, whose time is over long before TorchServe ends the worker, are told when it is; others wait for
    nothing."""
    monkeypatch.setattr(lane, "LINGER_S", 0.05)
    file = tmp_path / "quarantine.json"
    torchserve.workers = [100, 101]
    service = await start_service(quarantine_file=file)
    await hang_under(torchserve, KILLER)
    assert (await service.post("/classify", b"good")).status == 200
    for number in (1, 2):
        hung = await service.post("/classify", KILLER, headers=SOON)
        assert (hung.status, hung.json["type"]) == (504, "DeadlineExceeded")
        assert "hung under picture" not in caplog.text or number == 2
        assert (await service.post("/classify", b"good %d" % number)).status == 200, "the lane is free meanwhile"

        async def is_noted(number: int = number) -> bool:
            return file.exists() and [one["hangs"] for one in json.loads(file.read_bytes())["pictures"]] == [number]

        await until(is_noted)
    assert "refused from now on" in caplog.text
    assert (await service.post("/classify", KILLER)).json["type"] == "PictureQuarantined"
    (kept,) = json.loads(file.read_bytes())["pictures"]
    assert kept["deaths"] == 0
    assert await service.metric('web_upstream_errors_total{kind="timeout"}') == 2


async def test_where_nothing_else_was_answered_a_second_hang_is_no_proof(
    start_service: StartService, torchserve: FakeTorchServe, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(lane, "LINGER_S", 0.05)
    monkeypatch.setattr(lane, "WELL_S", -60.0)
    service = await start_service()
    await hang_under(torchserve, KILLER)
    for _ in range(3):
        hung = await service.post("/classify", KILLER, headers=SOON)
        assert (hung.status, hung.json["type"]) == (504, "DeadlineExceeded")
        await asyncio.sleep(1.2)
    assert caplog.text.count("hung under picture") == 1


async def test_of_a_group_under_which_a_worker_hung_each_picture_goes_alone_until_it_is_answered(
    start_service: StartService, torchserve: FakeTorchServe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(lane, "LINGER_S", 0.05)
    file = tmp_path / "quarantine.json"
    service = await start_service(quarantine_file=file)
    await hang_under(torchserve, KILLER, seconds=2.5)
    behaviour, is_free = torchserve.behaviour, asyncio.Event()

    async def answer_later(request: web.Request, picture: bytes) -> web.StreamResponse:
        await is_free.wait()
        return await behaviour(request, picture)

    async def together(*pictures: bytes) -> list[int]:
        """Statuses of pictures that have to wait, and so go together."""
        is_free.clear()
        torchserve.behaviour, before = answer_later, len(torchserve.groups)
        busy = []
        for number in (1, 2):  # the worker, and the one place behind it
            busy.append(asyncio.create_task(service.post("/classify", b"%d %d" % (before, number))))

            async def is_taken(groups: int = before + number) -> bool:
                return len(torchserve.groups) == groups

            await until(is_taken)
        soon = {"X-Request-Timeout-Ms": "1500"}
        waiting = [asyncio.create_task(service.post("/classify", one, headers=soon)) for one in pictures]
        await until(lambda: in_flight(service, 2 + len(pictures)))
        is_free.set()
        assert {(await reply).status for reply in busy} == {200}
        return [(await reply).status for reply in waiting]

    pictures = (KILLER, b"innocent", b"too")
    assert await together(*pictures) == [504] * 3
    assert torchserve.groups[-1] == 3

    async def are_suspected() -> bool:
        return file.exists() and len(json.loads(file.read_bytes())["pictures"]) == 3

    await until(are_suspected)
    behaviour = torchserve.answer
    assert await together(*pictures) == [200] * 3
    assert torchserve.groups[-3:] == [1] * 3
    assert json.loads(file.read_bytes()) == {"pictures": []}


async def in_flight(service: Service, pictures: int) -> bool:
    return await service.metric("web_requests_in_flight") == pictures


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no JSON",
        b"[]",
        b'{"pictures": [1]}',
        b'{"pictures": [{"model": "m", "archive": "a", "sha256": 1, "size_bytes": 1, "deaths": 2}]}',
        b'{"pictures": [{"model": "m", "archive": "a", "sha256": "s", "size_bytes": 1, "deaths": 2, "more": 1}]}',
        b'{"pictures": [{"model": "m", "archive": "a", "sha256": "s", "size_bytes": 1, "deaths": 2, "hangs": null}]}',
        b"[" * 100_000,
        b" " * (MAX_FILE_BYTES + 1),
        b"\xff\xfe",
    ],
)
def test_a_damaged_file_says_nothing(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "quarantine.json"
    file.write_bytes(content)
    metrics = WebMetrics()
    Quarantine(file, metrics)
    assert metrics.registry.get_sample_value("web_quarantined_pictures") == 0


MODEL = KnownModel(ModelVersion("m", "1.0", "m.mar", ()), ArchiveDescription(inputs_sha256="a"), is_confirmed=True)


async def blame(quarantine: Quarantine, picture: bytes, model: KnownModel = MODEL) -> bool:
    return await quarantine.blame(model, picture, "x", is_well=True)


async def test_what_is_remembered_is_bounded(tmp_path: Path) -> None:
    quarantine = Quarantine(None, WebMetrics())
    await blame(quarantine, b"first of all")
    for number in range(MAX_PICTURES):
        await blame(quarantine, b"%d" % number)
    assert quarantine.find(MODEL, b"first of all") is None
    assert quarantine.find(MODEL, b"0") is not None


async def test_a_disk_that_takes_nothing_costs_only_the_memory_beyond_the_process(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path / "none" / "quarantine.json", WebMetrics())
    assert [await blame(quarantine, KILLER), await blame(quarantine, KILLER)] == [False, True]


async def test_an_archive_without_a_digest_is_known_by_its_name() -> None:
    quarantine = Quarantine(None, WebMetrics())
    foreign = replace(MODEL, description=ArchiveDescription())
    assert [await blame(quarantine, KILLER, foreign), await blame(quarantine, KILLER, foreign)] == [False, True]
    assert quarantine.find(MODEL, KILLER) is None
