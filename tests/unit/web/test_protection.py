"""Sizes, numbers, keys, rates, origins."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from starlette.requests import Request

from marserve.web import protection
from marserve.web.errors import ApiKeyRequired, RateLimited
from marserve.web.metrics import WebMetrics
from marserve.web.protection import Guard, RateLimit, caller_of_address
from tests.unit.web.fake_torchserve import FakeTorchServe
from tests.unit.web.service import StartService, form

pytestmark = pytest.mark.anyio

KEYS = ("first-key-0123456789", "second-key-0123456789")


async def endless(chunks: int = 10_000) -> AsyncIterator[bytes]:
    for _ in range(chunks):
        yield b"x" * 1000
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("path", "settings"),
    [("/predict", {"max_image_bytes": 5000}), ("/v2/models/resnet18/infer", {"max_body_bytes": 5000})],
)
@pytest.mark.parametrize("body", ["promised", "chunked", "form"])
async def test_too_many_bytes_are_refused_however_they_come(
    start_service: StartService, torchserve: FakeTorchServe, path: str, settings: dict[str, int], body: str
) -> None:
    service = await start_service(**settings)
    bodies = {"promised": b"x" * 100_000, "chunked": endless(), "form": form(b"x" * 100_000)}
    reply = await service.post(path, bodies[body])
    assert (reply.status, reply.json["type"]) == (413, "ImageTooLarge")
    assert "5000 bytes" in reply.json["message"]
    assert torchserve.pictures == []


async def test_caller_that_sends_megabytes_too_many_still_reads_its_answer(start_service: StartService) -> None:
    service = await start_service(max_image_bytes=1000)
    for _ in range(3):
        reply = await service.post("/predict", form(b"x" * 8_000_000))
        assert reply.status == 413


async def test_picture_of_exactly_the_limit_is_taken(start_service: StartService) -> None:
    service = await start_service(max_image_bytes=1000)
    assert (await service.post("/predict", b"x" * 1000)).status == 200
    assert (await service.post("/predict", b"x" * 1001)).status == 413
    assert (await service.post("/predict", form(b"x" * 1000))).status == 200


async def test_body_that_does_not_arrive_is_given_up(start_service: StartService) -> None:
    service = await start_service(upload_deadline_s=0.3)

    async def stalled() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.sleep(5)

    reply = await service.post("/predict", stalled())
    assert (reply.status, reply.json["type"]) == (408, "UploadTimeout")


async def test_more_than_the_limit_in_flight_is_refused_at_once(
    start_service: StartService, torchserve: FakeTorchServe
) -> None:
    service = await start_service(max_in_flight=3)
    release = asyncio.Event()

    async def wait(request: web.Request, picture: bytes) -> web.StreamResponse:
        await release.wait()
        return await torchserve.answer(request, picture)

    torchserve.behaviour = wait
    waiting = [asyncio.create_task(service.post("/classify", bytes([i]))) for i in range(3)]
    while len(torchserve.pictures) < 3:
        await asyncio.sleep(0.01)
    refused = await service.post("/classify", b"one more")
    assert (refused.status, refused.json["type"], refused.headers["Retry-After"]) == (503, "Overloaded", "1")
    assert await service.metric("web_requests_in_flight") == 3
    assert (await service.get("/healthz")).status == 200
    release.set()
    assert {(await task).status for task in waiting} == {200}
    assert (await service.post("/classify", b"one more")).status == 200
    assert await service.metric("web_requests_in_flight") == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": KEYS[0]},
        {"X-API-Key": KEYS[1]},
        {"Authorization": f"Bearer {KEYS[1]}"},
        {"Authorization": f"bearer  {KEYS[0]}"},
    ],
)
async def test_every_key_opens_the_service(start_service: StartService, headers: dict[str, str]) -> None:
    service = await start_service(api_keys=KEYS)
    assert (await service.post("/predict", b"picture", headers=headers)).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": ""},
        {"X-API-Key": KEYS[0][:-1]},
        {"X-API-Key": f"{KEYS[0]} "[:-2]},
        {"X-API-Key": "é" * 20},
        {"Authorization": f"Basic {KEYS[0]}"},
        {"Authorization": "Bearer"},
    ],
)
async def test_anything_else_does_not(
    start_service: StartService, torchserve: FakeTorchServe, headers: dict[str, str]
) -> None:
    service = await start_service(api_keys=KEYS)
    for method, path in [
        ("POST", "/predict"),
        ("POST", "/classify"),
        ("POST", "/explain"),
        ("POST", "/v2/models/resnet18/infer"),
        ("GET", "/v2/models/resnet18"),
        ("GET", "/models"),
        ("GET", "/metrics"),
        ("GET", "/metrics/torchserve"),
    ]:
        reply = await service.ask(method, path, headers=headers)
        assert (reply.status, reply.json["type"]) == (401, "ApiKeyRequired")
        assert reply.headers["WWW-Authenticate"] == "Bearer"
    assert torchserve.pictures == []


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/docs", "/openapi.json", "/v2", "/v2/health/ready"])
async def test_page_health_and_documentation_need_no_key(start_service: StartService, path: str) -> None:
    service = await start_service(api_keys=KEYS)
    assert (await service.get(path)).status == 200


async def test_caller_above_its_rate_is_told_when_to_come_back(start_service: StartService) -> None:
    service = await start_service(rate_limit_per_minute=3, api_keys=KEYS)
    headers = [{"X-API-Key": key} for key in KEYS]
    statuses = [(await service.post("/predict", bytes([i]), headers=headers[0])).status for i in range(4)]
    assert statuses == [200, 200, 200, 429]
    reply = await service.post("/predict", b"picture", headers=headers[0])
    assert reply.json["type"] == "RateLimited"
    assert 1 <= int(reply.headers["Retry-After"]) <= 20
    assert (await service.post("/predict", b"picture", headers=headers[1])).status == 200
    assert (await service.get("/models", headers=headers[0])).status == 200


@pytest.mark.parametrize(("trusted", "expected"), [((), 429), (("127.0.0.1",), 200)])
async def test_forwarded_address_counts_only_from_a_trusted_proxy(
    start_service: StartService, trusted: tuple[str, ...], expected: int
) -> None:
    service = await start_service(rate_limit_per_minute=1, trusted_proxies=trusted)
    first = await service.post("/predict", b"picture", headers={"X-Forwarded-For": "192.0.2.1"})
    second = await service.post("/predict", b"picture", headers={"X-Forwarded-For": "192.0.2.2"})
    assert (first.status, second.status) == (200, expected)


def test_bucket_refills_evenly() -> None:
    now = [0.0]
    limit = RateLimit(60, clock=lambda: now[0])
    limit.take("a", 60)
    with pytest.raises(RateLimited) as refused:
        limit.take("a", 5)
    assert refused.value.retry_after_s == 5
    now[0] = 5.0
    limit.take("a", 5)
    with pytest.raises(RateLimited):
        limit.take("a")


def test_request_of_more_pictures_than_fit_is_not_refused_for_ever() -> None:
    limit = RateLimit(10)
    limit.take("a", 32)
    with pytest.raises(RateLimited):
        limit.take("a")


def test_table_of_callers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protection, "MAX_CALLERS", 100)
    limit = RateLimit(10)
    for caller in range(1000):
        limit.take(str(caller))
    assert len(limit) == 100


async def slowly(let_go: asyncio.Event, size: int = 7, begun: asyncio.Event | None = None) -> AsyncIterator[bytes]:
    yield b"p" * size
    if begun is not None:
        begun.set()  # these bytes are sent
    await let_go.wait()
    yield b"icture"


async def test_whoever_sends_slowly_takes_no_place(start_service: StartService, torchserve: FakeTorchServe) -> None:
    service = await start_service(max_in_flight=1)
    let_go = asyncio.Event()
    begun = [asyncio.Event() for _ in range(4)]
    senders = [
        asyncio.create_task(service.post("/predict", slowly(let_go, size, has_begun)))
        for size, has_begun in enumerate(begun, 1)
    ]
    await asyncio.gather(*(has_begun.wait() for has_begun in begun))
    assert (await service.post("/predict", b"picture")).status == 200
    assert (await service.post("/v2/models/resnet18/infer", b"{}")).status == 400
    assert await service.metric("web_requests_in_flight") == 0

    let_go.set()
    assert {reply.status for reply in await asyncio.gather(*senders)} <= {200, 503}
    assert await service.metric("web_requests_in_flight") == 0


async def test_what_is_still_arriving_is_bounded(start_service: StartService) -> None:
    service = await start_service(max_waiting_bytes=100_000)
    let_go, begun = asyncio.Event(), asyncio.Event()
    sender = asyncio.create_task(service.post("/predict", slowly(let_go, 80_000, begun)))
    await begun.wait()
    assert (await service.get("/healthz")).status == 200  # and what was sent before this is here
    assert (await service.post("/predict", slowly(let_go, 30_000))).status == 503
    assert (await service.post("/predict", b"picture")).status == 200
    let_go.set()
    assert (await sender).status == 200
    assert (await service.post("/predict", slowly(let_go, 90_000))).status == 200


@pytest.mark.parametrize(
    ("address", "caller"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("", ""),
    ],
)
def test_neighbours_in_an_ipv6_network_are_one_caller(address: str, caller: str) -> None:
    assert caller_of_address(address) == caller


async def test_other_origins_are_shut_out_by_default(start_service: StartService) -> None:
    service = await start_service()
    reply = await service.post("/predict", b"picture", headers={"Origin": "https://example.org"})
    assert not any(name.lower().startswith("access-control") for name in reply.headers)
    preflight = await service.ask("OPTIONS", "/predict", headers={"Origin": "https://example.org"})
    assert preflight.status == 405


async def test_configured_origin_may_call_and_read_errors(start_service: StartService) -> None:
    service = await start_service(cors_origins=("https://example.org",))
    for body, status in [(b"picture", 200), (b"", 400)]:
        reply = await service.post("/predict", body, headers={"Origin": "https://example.org"})
        assert reply.status == status
        assert reply.headers["Access-Control-Allow-Origin"] == "https://example.org"
        assert "X-Request-ID" in reply.headers["Access-Control-Expose-Headers"]
    asked = "traceparent, tracestate, x-api-key, x-priority, x-request-timeout-ms"
    preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": asked}
    allowed = await service.ask("OPTIONS", "/predict", headers={"Origin": "https://example.org", **preflight})
    assert allowed.status == 200
    other = await service.post("/predict", b"picture", headers={"Origin": "https://example.net"})
    assert "Access-Control-Allow-Origin" not in other.headers


def test_each_key_is_compared_to_its_end_whichever_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """By digests of one length, with ``hmac.compare_digest``: no time tells which key it is, or how much of it."""
    compared: list[tuple[bytes, bytes]] = []

    def compare(shown: bytes, known: bytes) -> bool:
        compared.append((shown, known))
        return hmac.compare_digest(shown, known)

    class Comparing:
        compare_digest = staticmethod(compare)

    monkeypatch.setattr(protection, "hmac", Comparing)
    keys = [f"key-number-{number}-of-this-service" for number in range(5)]
    guard = Guard(keys, RateLimit(0), WebMetrics())
    for shown, is_known in [(keys[0], True), (keys[2], True), (keys[4], True), ("", False), (keys[0][:-1], False)]:
        compared.clear()
        request = Request({"type": "http", "headers": [(b"x-api-key", shown.encode())]})
        if is_known:
            guard.check_key(request)
        else:
            with pytest.raises(ApiKeyRequired):
                guard.check_key(request)
        assert [known for _, known in compared] == [hashlib.sha256(key.encode()).digest() for key in keys]
        assert {len(side) for pair in compared for side in pair} == {32}
