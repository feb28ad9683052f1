"""``python -m web`` as a process: start, stop, bad settings."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

import aiohttp
import pytest
import uvloop
from aiohttp import web
from fastapi import FastAPI

from marserve.system.files import is_held
from marserve.web.connections import MAX_CONNECTIONS, Places
from marserve.web.server import END_S, GracefulServer, create_config
from marserve.web.settings import WebSettings
from tests.otlp_collector import otlp_collector
from tests.unit.web.fake_torchserve import FakeTorchServe

pytestmark = pytest.mark.anyio


async def start(**settings: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "marserve.web",
        env={"PATH": os.environ["PATH"], **settings},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def status_of(session: aiohttp.ClientSession, url: str, picture: bytes | None = None) -> int | None:
    try:
        async with session.request("GET" if picture is None else "POST", url, data=picture) as reply:
            await reply.read()  # else the connection is not kept
            return reply.status
    except aiohttp.ClientConnectionError:
        return None


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
async def test_signal_lets_requests_finish_and_ends_with_status_0(
    torchserve: FakeTorchServe, sent: signal.Signals
) -> None:
    arrived = asyncio.Event()

    async def slow(request: web.Request, picture: bytes) -> web.StreamResponse:
        if picture == b"slow":
            arrived.set()
            await asyncio.sleep(2)
        return await torchserve.answer(request, picture)

    torchserve.behaviour = slow
    url = f"http://127.0.0.1:{(port := free_port())}"
    urls = {"MARSERVE_INFERENCE_URL": torchserve.url, "MARSERVE_MANAGEMENT_URL": torchserve.url}
    process = await start(MARSERVE_WEB_PORT=str(port), MARSERVE_DRAIN_S="1", **urls)
    async with aiohttp.ClientSession() as session, aiohttp.ClientSession() as other:
        while await status_of(session, f"{url}/readyz") != 200:
            assert process.returncode is None
            await asyncio.sleep(0.05)
        request = asyncio.create_task(status_of(session, f"{url}/predict", b"slow"))
        await arrived.wait()
        process.send_signal(sent)
        while await status_of(other, f"{url}/readyz") == 200:
            await asyncio.sleep(0.01)
        assert await status_of(other, f"{url}/readyz") == 503  # still listening, for a load balancer to see
        assert await request == 200
    output, errors = await process.communicate()
    assert process.returncode == 0, errors
    for line in output.decode().splitlines():
        assert {"time", "level", "message"} <= json.loads(line).keys()
    assert errors == b""


async def test_what_takes_longer_than_the_grace_is_given_up_before_it_ends_and_the_lock_is_held_until_then(
    torchserve: FakeTorchServe, tmp_path: Path
) -> None:
    """Whoever sends SIGTERM sends SIGKILL after the grace: TorchServe is to end in between."""
    arrived = asyncio.Event()

    async def never(request: web.Request, picture: bytes) -> web.StreamResponse:
        arrived.set()
        await asyncio.sleep(60)
        return web.Response()

    url, lock = f"http://127.0.0.1:{(port := free_port())}", tmp_path / "run" / "web.lock"
    urls = {"MARSERVE_INFERENCE_URL": torchserve.url, "MARSERVE_MANAGEMENT_URL": torchserve.url}
    shared = {"MARSERVE_WEB_LOCK": str(lock), "MARSERVE_GRACE_S": str(END_S + 3), "MARSERVE_REQUEST_DEADLINE_S": "60"}
    process = await start(MARSERVE_WEB_PORT=str(port), MARSERVE_DRAIN_S="60", **urls, **shared)
    async with aiohttp.ClientSession() as session:
        while await status_of(session, f"{url}/readyz") != 200:
            assert process.returncode is None
            await asyncio.sleep(0.05)
        torchserve.behaviour = never
        request = asyncio.create_task(status_of(session, f"{url}/predict", b"slow"))
        await arrived.wait()
        assert is_held(lock)
        process.send_signal(signal.SIGTERM)
        asked_s = time.monotonic()
        await asyncio.sleep(0.5)
        assert is_held(lock)
        _, errors = await process.communicate()
        assert time.monotonic() - asked_s < END_S + 3
        assert await request in (None, 500)
    assert process.returncode == 0, errors
    assert not is_held(lock)


async def test_a_directory_that_cannot_be_shared_ends_the_start_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    process = await start(MARSERVE_WEB_LOCK=str(tmp_path / "file" / "web.lock"))
    _, errors = await process.communicate()
    assert process.returncode == 1
    assert errors.decode().startswith("web: the directory that it shares with TorchServe: ")
    assert "Traceback" not in errors.decode()


async def test_without_a_key_file_the_service_is_up_and_it_takes_the_one_that_comes(
    torchserve: FakeTorchServe, tmp_path: Path
) -> None:
    port, key_file = free_port(), tmp_path / "key_file.json"
    torchserve.require_tokens(key_file)
    later = key_file.rename(tmp_path / "later.json")
    urls = {"MARSERVE_INFERENCE_URL": torchserve.url, "MARSERVE_MANAGEMENT_URL": torchserve.url}
    process = await start(MARSERVE_WEB_PORT=str(port), MARSERVE_KEY_FILE=str(key_file), **urls)
    async with aiohttp.ClientSession() as session:
        while await status_of(session, f"http://127.0.0.1:{port}/healthz") != 200:
            assert process.returncode is None
            await asyncio.sleep(0.05)
        async with session.post(f"http://127.0.0.1:{port}/predict", data=b"picture") as reply:
            assert (reply.status, reply.headers["Retry-After"]) == (503, "5")
        assert await status_of(session, f"http://127.0.0.1:{port}/readyz") == 503
        later.rename(key_file)
        while await status_of(session, f"http://127.0.0.1:{port}/readyz") != 200:
            assert process.returncode is None
            await asyncio.sleep(0.05)
    process.terminate()
    await process.communicate()


async def test_a_request_on_its_way_when_the_service_stops_is_answered(torchserve: FakeTorchServe) -> None:
    port = free_port()
    process = await start(
        MARSERVE_WEB_PORT=str(port), MARSERVE_INFERENCE_URL=torchserve.url, MARSERVE_MANAGEMENT_URL=torchserve.url
    )
    async with aiohttp.ClientSession() as other:
        while await status_of(other, f"http://127.0.0.1:{port}/readyz") != 200:
            assert process.returncode is None
            await asyncio.sleep(0.05)
        async with aiohttp.ClientSession() as session:
            # The connection is kept, as a load balancer would.
            assert await status_of(session, f"http://127.0.0.1:{port}/healthz") == 200
            process.send_signal(signal.SIGTERM)
            while await new_connection_is_accepted(port):
                await asyncio.sleep(0.01)
            async with session.post(f"http://127.0.0.1:{port}/predict", data=b"picture") as reply:
                assert (reply.status, reply.headers["Connection"]) == (200, "close")
    await process.communicate()
    assert process.returncode == 0


def test_connections_that_wait_to_be_accepted_when_the_service_stops_are_answered() -> None:
    async def stop_while_they_wait() -> list[bytes]:
        places = Places(MAX_CONNECTIONS)
        config = create_config(FastAPI(), WebSettings(web_port=free_port()), places)
        config.load()
        server = GracefulServer(config, places, drain_s=0, on_stop=lambda: None)
        server.lifespan = config.lifespan_class(config)
        await server.startup()
        # From here to the stop, the loop has no turn in which to accept them.
        waiting = [socket.create_connection(("127.0.0.1", config.port), timeout=5) for _ in range(16)]
        for connection in waiting:
            connection.sendall(b"GET /openapi.json HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n")
        await server.shutdown()
        begun = [connection.recv(12) for connection in waiting]
        for connection in waiting:
            connection.close()
        return begun

    loop = uvloop.new_event_loop()
    try:
        assert loop.run_until_complete(stop_while_they_wait()) == [b"HTTP/1.1 200"] * 16
    finally:
        loop.close()


async def test_the_log_has_every_request_when_the_service_has_ended(torchserve: FakeTorchServe) -> None:
    url = f"http://127.0.0.1:{(port := free_port())}"
    urls = {"MARSERVE_INFERENCE_URL": torchserve.url, "MARSERVE_MANAGEMENT_URL": torchserve.url}
    process = await start(MARSERVE_WEB_PORT=str(port), **urls)
    async with aiohttp.ClientSession() as session:
        while await status_of(session, f"{url}/readyz") != 200:
            assert process.returncode is None
            await asyncio.sleep(0.05)
        statuses = [await status_of(session, f"{url}/predict", b"picture %d" % number) for number in range(20)]
        process.send_signal(signal.SIGTERM)
    output, _ = await process.communicate()
    logged = [json.loads(line) for line in output.decode().splitlines()]
    assert [line["status"] for line in logged if line.get("path") == "/predict"] == statuses == [200] * 20


async def new_connection_is_accepted(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return False
    writer.close()
    return True


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"MARSERVE_WEB_PORT": "x"}, "MARSERVE_WEB_PORT = 'x'"),
        ({"MARSERVE_API_KEYS_FILE": "/nothing"}, "MARSERVE_API_KEYS_FILE"),
    ],
)
async def test_bad_setting_stops_start_up(settings: dict[str, str], message: str) -> None:
    process = await start(**settings)
    _, errors = await process.communicate()
    assert process.returncode == 2
    assert message in errors.decode()
    assert "Traceback" not in errors.decode()


async def test_port_in_use_ends_with_a_reason() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        process = await start(MARSERVE_WEB_PORT=str(taken.getsockname()[1]))
        output, _ = await process.communicate()
    assert process.returncode not in {0, None}
    assert "address already in use" in output.decode()


async def test_service_imports_nothing_that_decodes_or_computes() -> None:
    code = "import sys, marserve.web.server; print(sorted({'torch', 'PIL', 'numpy', 'openvino'} & sys.modules.keys()))"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert output == b"[]\n"


async def test_a_log_that_cannot_be_written_fails_no_answer(torchserve: FakeTorchServe) -> None:
    port = free_port()
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - it takes nothing
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "marserve.web",
            env={
                "PATH": os.environ["PATH"], "MARSERVE_WEB_PORT": str(port), "MARSERVE_LOG_LEVEL": "DEBUG",
                "MARSERVE_INFERENCE_URL": torchserve.url, "MARSERVE_MANAGEMENT_URL": torchserve.url,
            },
            stdout=full, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    async with aiohttp.ClientSession() as session:
        while await status_of(session, f"{url}/readyz") != 200:
            assert process.returncode is None
            await asyncio.sleep(0.05)
        for number in range(300):
            assert await status_of(session, f"{url}/classify", b"picture %d" % number) == 200
    process.terminate()
    _, errors = await process.communicate()
    assert len(errors) < 1000, "nor does another stream fill"


async def test_a_collector_that_hangs_delays_no_request_and_hardly_the_end(torchserve: FakeTorchServe) -> None:
    url = f"http://127.0.0.1:{(port := free_port())}"
    urls = {"MARSERVE_INFERENCE_URL": torchserve.url, "MARSERVE_MANAGEMENT_URL": torchserve.url}
    with otlp_collector() as collector:
        collector.answers.clear()
        batches = {
            "OTEL_BSP_SCHEDULE_DELAY": "10",
            "OTEL_BSP_MAX_QUEUE_SIZE": "64",
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "8",
        }
        process = await start(MARSERVE_WEB_PORT=str(port), OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, **batches, **urls)
        async with aiohttp.ClientSession() as session:
            while await status_of(session, f"{url}/readyz") != 200:
                assert process.returncode is None
                await asyncio.sleep(0.05)
            pictures = (b"picture %d" % number for number in range(100))  # more spans than may wait
            assert {await status_of(session, f"{url}/predict", picture) for picture in pictures} == {200}
        assert collector.headers
        process.terminate()
        # OpenTelemetry itself would wait for half a minute.
        output, errors = await asyncio.wait_for(process.communicate(), 15)
    assert process.returncode == 0, errors
    assert output.decode().count("dropping Span") <= 1
