"""Results in a real Redis, and without one."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from tests.unit.web.fake_torchserve import FakeTorchServe
from tests.unit.web.service import StartService

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
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.mark.needs("redis-server")
async def test_two_services_share_results(
    start_service: StartService, torchserve: FakeTorchServe, redis: RedisServer
) -> None:
    first = await start_service(cache_url=redis.url)
    second = await start_service(cache_url=redis.url)
    assert (await first.post("/classify", b"picture")).headers["X-Cache"] == "miss"
    repeated = await second.post("/classify", b"picture")
    assert repeated.headers["X-Cache"] == "hit"
    assert len(torchserve.pictures) == 1


@pytest.mark.needs("redis-server")
async def test_results_expire_in_redis(start_service: StartService, redis: RedisServer) -> None:
    service = await start_service(cache_url=redis.url, cache_ttl_s=1)
    assert (await service.post("/classify", b"picture")).headers["X-Cache"] == "miss"
    time.sleep(1.2)
    assert (await service.post("/classify", b"picture")).headers["X-Cache"] == "miss"


@pytest.mark.needs("redis-server")
@pytest.mark.parametrize("damage", ["halved", "noise", "of another picture"])
async def test_what_is_damaged_in_redis_answers_nobody(
    start_service: StartService, redis: RedisServer, damage: str
) -> None:
    service = await start_service(cache_url=redis.url)
    right = (await service.post("/classify", b"picture")).json["predictions"]
    await service.post("/classify?top_k=1", b"another picture")
    client = Redis(port=redis.port)
    values = {key: client.get(key) or b"" for key in client.scan_iter()}
    assert len(values) == 2
    for key, value in values.items():
        other = next(content for content in values.values() if content != value)
        client.set(
            key, {"halved": value[: len(value) // 2], "noise": b"\xff" * 100, "of another picture": other}[damage]
        )
    client.close()
    reply = await service.post("/classify", b"picture")
    assert (reply.status, reply.headers["X-Cache"], reply.json["predictions"]) == (200, "miss", right)


@pytest.mark.needs("redis-server")
@pytest.mark.parametrize("failure", ["stopped", "frozen"])
async def test_requests_succeed_without_redis(start_service: StartService, redis: RedisServer, failure: str) -> None:
    service = await start_service(cache_url=redis.url)
    assert (await service.post("/classify", b"picture")).status == 200
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
