"""Repeated and simultaneous pictures."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from aiohttp import web

from marserve.web.cache import OVERHEAD_BYTES, MemoryCache, cache_key
from marserve.web.metrics import WebMetrics
from tests.unit.web.fake_torchserve import FakeTorchServe, java_error, predictions_for
from tests.unit.web.service import Service, StartService, form, until, until_seen

pytestmark = pytest.mark.anyio

PICTURE = b"a picture"
COALESCED = 'web_cache_lookups_total{result="coalesced"}'


async def cache_of(service: Service, path: str, picture: bytes = PICTURE) -> str:
    reply = await service.post(path, picture)
    assert reply.status == 200
    return reply.headers["X-Cache"]


async def test_repeated_picture_is_answered_from_the_cache(service: Service, torchserve: FakeTorchServe) -> None:
    first = await service.post("/classify", form(PICTURE))
    second = await service.post("/classify", PICTURE)  # the same picture, however it comes
    assert (first.headers["X-Cache"], second.headers["X-Cache"]) == ("miss", "hit")
    assert first.json["predictions"] == second.json["predictions"]
    assert len(torchserve.pictures) == 1
    assert await service.metric('web_cache_lookups_total{result="hit"}') == 1


@pytest.mark.parametrize(
    ("path", "picture"),
    [
        ("/classify?top_k=4", PICTURE),
        ("/explain?top_k=5", PICTURE),
        ("/explain?top_k=5&class_id=0", PICTURE),
        ("/classify?top_k=5", PICTURE + b"."),
        ("/classify?top_k=5&model=other", PICTURE),
    ],
)
async def test_other_request_is_not_answered_from_the_cache(
    start_service: StartService, torchserve: FakeTorchServe, path: str, picture: bytes
) -> None:
    torchserve.archives["other", "1.0"] = torchserve.archives["resnet18", "1.0"]
    torchserve.default_versions["other"] = "1.0"
    service = await start_service()
    assert await cache_of(service, "/classify?top_k=5") == "miss"
    assert await cache_of(service, path, picture) == "miss"


async def test_predict_and_classify_share_results(service: Service) -> None:
    assert await cache_of(service, "/predict?top_k=5") == "miss"
    assert await cache_of(service, "/classify?top_k=5") == "hit"


async def test_errors_are_not_cached(service: Service, torchserve: FakeTorchServe) -> None:
    async def fail(request: web.Request, picture: bytes) -> web.StreamResponse:
        return java_error(503, "InternalServerException", "Prediction failed")

    torchserve.behaviour = fail
    assert (await service.post("/classify", PICTURE)).status == 502
    torchserve.behaviour = torchserve.answer
    assert await cache_of(service, "/classify") == "miss"


async def test_new_default_version_does_not_get_the_old_ones_answers(
    service: Service, torchserve: FakeTorchServe
) -> None:
    assert await cache_of(service, "/classify") == "miss"
    torchserve.archives["resnet18", "2.0"] = torchserve.archives["resnet18", "1.0"]
    torchserve.default_versions["resnet18"] = "2.0"

    async def is_new() -> bool:
        return bool((await service.get("/models")).json["models"][0]["version"] == "2.0")

    await until(is_new)
    reply = await service.post("/classify", PICTURE)
    assert (reply.headers["X-Cache"], reply.headers["X-Model-Version"]) == ("miss", "2.0")


async def test_other_archive_under_the_same_version_does_not_get_the_old_ones_answers(
    service: Service, torchserve: FakeTorchServe
) -> None:
    assert await cache_of(service, "/classify") == "miss"
    torchserve.archives["resnet18", "1.0"] = {**torchserve.archives["resnet18", "1.0"], "inputs_sha256": "b" * 64}
    torchserve.workers = [200]
    asked = torchserve.describes

    async def is_described_again() -> bool:
        return torchserve.describes > asked

    await until(is_described_again)
    assert await cache_of(service, "/classify") == "miss"


async def test_replaced_worker_of_the_same_archive_keeps_the_cache(
    service: Service, torchserve: FakeTorchServe
) -> None:
    torchserve.workers = [100, 101]
    assert await cache_of(service, "/classify") == "miss"
    await until_seen(torchserve)
    torchserve.workers = [102, 101]
    await until_seen(torchserve)
    assert await cache_of(service, "/classify") == "hit"
    assert torchserve.describes == 1


async def test_version_that_went_away_is_replaced_without_a_failure(
    service: Service, torchserve: FakeTorchServe
) -> None:
    torchserve.archives = {("resnet18", "3.0"): torchserve.archives["resnet18", "1.0"]}
    torchserve.default_versions["resnet18"] = "3.0"
    reply = await service.post("/classify", PICTURE)
    assert (reply.status, reply.headers["X-Model-Version"]) == (200, "3.0")


async def test_cache_can_be_switched_off(start_service: StartService) -> None:
    service = await start_service(cache_max_entries=0)
    assert [await cache_of(service, "/classify") for _ in range(2)] == ["miss", "miss"]


async def test_identical_pictures_in_flight_cause_one_inference(service: Service, torchserve: FakeTorchServe) -> None:
    release = asyncio.Event()

    async def slow(request: web.Request, picture: bytes) -> web.StreamResponse:
        await release.wait()
        return await torchserve.answer(request, picture)

    torchserve.behaviour = slow
    asked = [asyncio.create_task(service.post("/classify", PICTURE)) for _ in range(20)]
    await service.until_metric(COALESCED, 19)
    release.set()
    replies = await asyncio.gather(*asked)
    assert {reply.status for reply in replies} == {200}
    assert {str(reply.json["predictions"]) for reply in replies} == {str(predictions_for(PICTURE, 5))}
    assert torchserve.pictures == [PICTURE]


async def test_first_of_identical_requests_that_leaves_does_not_fail_the_others(
    service: Service, torchserve: FakeTorchServe
) -> None:
    arrived, release = asyncio.Event(), asyncio.Event()

    async def slow(request: web.Request, picture: bytes) -> web.StreamResponse:
        arrived.set()
        await release.wait()
        return await torchserve.answer(request, picture)

    torchserve.behaviour = slow
    leader = asyncio.create_task(service.post("/classify", PICTURE))
    await arrived.wait()
    follower = asyncio.create_task(service.post("/classify", PICTURE))
    await service.until_metric(COALESCED, 1)
    leader.cancel()
    await asyncio.sleep(0.1)  # the service sees the leader go
    release.set()
    assert (await follower).status == 200
    assert torchserve.pictures == [PICTURE]


def memory_cache(**options: float) -> tuple[MemoryCache, list[float]]:
    now = [0.0]
    chosen = {"max_entries": 100, "max_bytes": 10**6, "ttl_s": 10, **options}
    return MemoryCache(metrics=WebMetrics(), clock=lambda: now[0], **chosen), now  # type: ignore[arg-type]


async def test_memory_is_bounded_in_entries_and_what_was_used_lately_stays() -> None:
    cache, _ = memory_cache(max_entries=3)
    for key in "abc":
        await cache.put(key, b"x")
    await cache.get("a")
    await cache.put("d", b"x")
    assert [await cache.get(key) for key in "abcd"] == [b"x", None, b"x", b"x"]


async def test_memory_is_bounded_in_bytes() -> None:
    cache, _ = memory_cache(max_bytes=3 * (OVERHEAD_BYTES + 101))
    for key in "abcd":
        await cache.put(key, b"x" * 100)
    assert [await cache.get(key) is None for key in "abcd"] == [True, False, False, False]


async def test_body_larger_than_the_memory_evicts_nothing() -> None:
    cache, _ = memory_cache(max_bytes=2000)
    await cache.put("a", b"x")
    await cache.put("b", b"x" * 3000)
    assert [await cache.get(key) for key in "ab"] == [b"x", None]


async def test_memory_forgets_after_its_time() -> None:
    cache, now = memory_cache(ttl_s=10)
    await cache.put("a", b"x")
    now[0] = 9.9
    assert await cache.get("a") == b"x"
    now[0] = 10.0
    assert await cache.get("a") is None


async def test_overwriting_does_not_leak_bytes() -> None:
    cache, _ = memory_cache(max_bytes=2 * (OVERHEAD_BYTES + 101))
    for _ in range(100):
        await cache.put("a", b"x" * 100)
    await cache.put("b", b"x" * 100)
    assert await cache.get("a") is not None


def test_keys_differ_where_anything_differs() -> None:
    keys = [
        cache_key(picture, identity, top_k=top_k, explain=explain)
        for picture, identity, top_k, explain in itertools.product((b"", b"a"), ("m", "n"), (1, 11), (True, False))
    ]
    keys += [cache_key(b"", "m", top_k=1, explain=True, class_id=class_id) for class_id in (0, 1, 11)]
    assert len(set(keys)) == len(keys)
