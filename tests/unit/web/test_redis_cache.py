"""Results in a real Redis, and without one."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis

from marserve.web import cache as cache_module
from marserve.web.cache import MAX_ENTRY_BYTES, PREFIX, RedisCache
from marserve.web.metrics import WebMetrics
from tests.unit.web.fake_torchserve import FakeTorchServe
from tests.unit.web.service import Service, StartService, until

pytestmark = pytest.mark.anyio


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RedisServer:
    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self._command = [
            "redis-server",
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--dir",
            str(directory),
        ]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise AssertionError("Redis did not start.")

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            self.process.wait()
            self.process = None


@pytest.fixture
def redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisServer]:
    """A busy machine is no failure of it: it has more time here."""
    monkeypatch.setattr(cache_module, "TIMEOUT_S", 2.0)
    monkeypatch.setattr(cache_module, "SLOW_S", 1.0)
    monkeypatch.setattr(cache_module, "PAUSE_S", 60.0)
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.stop()


async def becomes_known(service: Service, picture: bytes = b"picture", query: str = "") -> None:
    """Wait until Redis has the answer to ``picture``: the caller has it sooner."""

    async def is_hit() -> bool:
        return (await service.post(f"/classify{query}", picture)).headers["X-Cache"] == "hit"

    await until(is_hit)


@pytest.mark.needs("redis-server")
async def test_two_services_share_results(
    start_service: StartService, torchserve: FakeTorchServe, redis: RedisServer
) -> None:
    first = await start_service(cache_url=redis.url)
    second = await start_service(cache_url=redis.url)
    assert (await first.post("/classify", b"picture")).headers["X-Cache"] == "miss"
    await becomes_known(first)
    asked = len(torchserve.pictures)
    assert (await second.post("/classify", b"picture")).headers["X-Cache"] == "hit"
    assert len(torchserve.pictures) == asked


@pytest.mark.needs("redis-server")
async def test_results_expire_in_redis(start_service: StartService, redis: RedisServer) -> None:
    service = await start_service(cache_url=redis.url, cache_ttl_s=1)
    await becomes_known(service)
    await asyncio.sleep(1.2)
    assert (await service.post("/classify", b"picture")).headers["X-Cache"] == "miss"


@pytest.mark.needs("redis-server")
@pytest.mark.parametrize("damage", ["halved", "noise", "of another picture"])
async def test_what_is_damaged_in_redis_answers_nobody(
    start_service: StartService, redis: RedisServer, damage: str
) -> None:
    service = await start_service(cache_url=redis.url)
    right = (await service.post("/classify", b"picture")).json["predictions"]
    await becomes_known(service)
    await becomes_known(service, b"another picture", "?top_k=1")
    client = Redis.from_url(redis.url)
    values = {key: bytes(await client.get(key) or b"") async for key in client.scan_iter()}  # type: ignore[arg-type]
    assert len(values) == 2
    for key, value in values.items():
        other = next(content for content in values.values() if content != value)
        damaged = {"halved": value[: len(value) // 2], "noise": b"\xff" * 100, "of another picture": other}[damage]
        await client.set(key, damaged)
    await client.aclose()
    reply = await service.post("/classify", b"picture")
    assert (reply.status, reply.headers["X-Cache"], reply.json["predictions"]) == (200, "miss", right)


@pytest.mark.needs("redis-server")
@pytest.mark.parametrize("failure", ["stopped", "frozen"])
async def test_requests_succeed_without_redis(start_service: StartService, redis: RedisServer, failure: str) -> None:
    service = await start_service(cache_url=redis.url)
    await becomes_known(service)
    if failure == "stopped":
        redis.stop()
    else:
        assert redis.process is not None
        redis.process.send_signal(signal.SIGSTOP)
    for _ in range(3):
        reply = await service.post("/classify", b"picture")
        assert (reply.status, reply.headers["X-Cache"]) == (200, "miss")
    assert await service.metric("web_cache_errors_total") == 1  # then it is left alone for a while


async def test_service_starts_without_redis(start_service: StartService) -> None:
    service = await start_service(cache_url=f"redis://127.0.0.1:{free_port()}/0")
    assert (await service.post("/classify", b"picture")).status == 200


def cache_of(url: str) -> tuple[RedisCache, WebMetrics]:
    metrics = WebMetrics()
    return RedisCache(url, ttl_s=60, metrics=metrics), metrics


def errors_of(metrics: WebMetrics) -> float | None:
    return metrics.registry.get_sample_value("web_cache_errors_total")


@pytest.mark.needs("redis-server")
async def test_what_others_wrote_into_redis_is_no_answer(redis: RedisServer) -> None:
    cache, metrics = cache_of(redis.url)
    raw = Redis.from_url(redis.url)
    await cache.put("a", b"answer of a")
    await cache.put("b", b"answer of b")
    assert [await cache.get("a"), await cache.get("b"), await cache.get("c")] == [b"answer of a", b"answer of b", None]
    good, swapped = await raw.get(PREFIX + "a"), await raw.get(PREFIX + "b")
    assert isinstance(good, bytes)
    assert isinstance(swapped, bytes)
    changed = good[:-1] + b"b"
    for garbage in (swapped, changed, good[:-1], good + b"x", b"", b"\0" * 40, b"{}", b"x" * (MAX_ENTRY_BYTES + 100)):
        await raw.set(PREFIX + "a", garbage)
        assert await cache.get("a") is None
    await raw.delete(PREFIX + "a")
    await raw.lpush(PREFIX + "a", "a list")
    assert await cache.get("a") is None
    assert await cache.get("b") == b"answer of b", "garbage under one key is no failure of Redis"
    assert errors_of(metrics) == 8
    await raw.aclose()
    await cache.close()


@pytest.mark.needs("redis-server")
async def test_a_redis_that_takes_nothing_is_still_read(redis: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    cache, metrics = cache_of(redis.url)
    raw = Redis.from_url(redis.url)
    await cache.put("a", b"answer")
    await raw.config_set("maxmemory", "1")
    for number in range(20):
        await cache.put(str(number), b"more")
        assert await cache.get("a") == b"answer"
    assert errors_of(metrics) == 1
    assert sum("takes nothing" in record.getMessage() for record in caplog.records) == 1
    await raw.aclose()
    await cache.close()


@asynccontextmanager
async def answering(answer: bytes, delay_s: float) -> AsyncIterator[str]:
    """The address of a server that answers each command so."""
    writers = []

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with contextlib.suppress(ConnectionError):
            while command := await reader.read(65_536):
                for _ in range(max(command.count(b"*"), 1)):
                    await asyncio.sleep(delay_s)
                    writer.write(answer)
                await writer.drain()

    server = await asyncio.start_server(say, "127.0.0.1", 0)
    yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0?protocol=2"
    server.close()
    for writer in writers:
        writer.close()
    await asyncio.sleep(0.1)
    gc.collect()  # what a cancelled connection left of itself, while there is a loop


@pytest.mark.parametrize(
    ("answer", "delay_s"),
    [
        pytest.param(b"", 0.0, id="silent"),
        pytest.param(b"\0\xff garbage \r\n", 0.0, id="garbage"),
        pytest.param(b"*" + b"9" * 30 + b"\r\n", 0.0, id="endless list"),
        pytest.param(b"*1\r\n" * 5000, 0.0, id="deep list"),
        pytest.param(b"$999999999999\r\nx", 0.0, id="endless value"),
        pytest.param(b":12\r\n", 0.0, id="a number"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n", 0.0, id="HTTP"),
        pytest.param(b"-LOADING wait\r\n", 0.0, id="loading"),
        pytest.param(b"-NOAUTH who are you?\r\n", 0.0, id="no password"),
        pytest.param(b"+OK\r\n", 0.1, id="slow"),
        pytest.param(b"+OK\r\n", 0.5, id="slower"),
    ],
)
async def test_a_redis_that_is_none_costs_little_time_and_no_answer(answer: bytes, delay_s: float) -> None:
    async with answering(answer, delay_s) as url:
        cache, _ = cache_of(url)
        started = time.monotonic()
        for number in range(60):
            await cache.put(str(number), b"answer")
            assert await cache.get(str(number)) is None
        assert time.monotonic() - started < 10
        await cache.close()


async def test_a_redis_that_answers_slowly_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "SLOW_S", 0.01)
    async with answering(b"$-1\r\n", 0.02) as url:
        cache, metrics = cache_of(url)
        for number in range(30):
            await cache.get(str(number))
        assert errors_of(metrics) == 1
        await cache.close()
