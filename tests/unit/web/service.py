"""Starts the service inside the test's event loop, and talks to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Protocol

import aiohttp
import uvicorn
from starlette.types import ASGIApp

from marserve.system.loopback import trusting
from marserve.web.app import create_app
from marserve.web.connections import MAX_CONNECTIONS, Places
from marserve.web.server import create_config
from marserve.web.settings import WebSettings
from marserve.web.tracing.context import Tracing
from tests.unit.web.fake_torchserve import FakeTorchServe

#: Seconds for anything that must happen soon.
SOON_S = 15.0


@dataclass(frozen=True)
class Reply:
    """An answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    json: Any


class Service:
    """A running service."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.session = session

    async def get(self, path: str, **options: Any) -> Reply:
        return await self.ask("GET", path, **options)

    async def post(self, path: str, body: Any = None, **options: Any) -> Reply:
        return await self.ask("POST", path, data=body, **options)

    async def ask(self, method: str, path: str, **options: Any) -> Reply:
        async with self.session.request(method, self.url + path, **options) as response:
            body = await response.read()
            is_json = response.content_type == "application/json" and body
            return Reply(response.status, response.headers, body, await response.json() if is_json else None)

    async def talk(self, *pieces: bytes) -> bytes:
        """What comes back for bytes as they are, until the service closes the connection."""
        host, port = self.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer

    async def metric(self, line: str) -> float:
        """The value of the metric whose line begins with ``line``; 0 where there is none yet."""
        text = (await self.get("/metrics")).body.decode()
        return next((float(row.split()[-1]) for row in text.splitlines() if row.startswith(line + " ")), 0.0)

    async def until_metric(self, line: str, value: float) -> None:
        """Wait until that metric is ``value``."""

        async def is_so() -> bool:
            return await self.metric(line) == value

        await until(is_so)


class StartService(Protocol):
    def __call__(self, **settings: object) -> Awaitable[Service]: ...


def form(picture: bytes, name: str = "file", filename: str = "cat.jpg") -> aiohttp.FormData:
    data = aiohttp.FormData()
    data.add_field(name, BytesIO(picture), filename=filename, content_type="image/jpeg")
    return data


async def fetch(app: ASGIApp, path: str, headers: dict[str, str]) -> str:
    """The body that ``app`` answers a request in this process with; the services behind it are not started."""
    encoded = [
        (name.lower().encode(), value.encode()) for name, value in {"Host": "web.internal:5000", **headers}.items()
    ]
    scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b""}
    body = b""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        nonlocal body
        body += message.get("body", b"")

    scope |= {
        "root_path": "",
        "scheme": "http",
        "headers": encoded,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 5000),
    }
    await app(scope, receive, send)
    return body.decode()


async def until(happened: Callable[[], Awaitable[bool]]) -> None:
    """Wait for something that must happen soon."""
    for _ in range(int(SOON_S / 0.05)):
        if await happened():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("It did not happen.")


async def until_seen(torchserve: FakeTorchServe) -> None:
    """Wait until a service has read all versions and workers as they are now."""
    before = torchserve.lists

    async def is_read() -> bool:
        return torchserve.lists >= before + 2  # the next list is asked for once what was read after this one is known

    await until(is_read)


@asynccontextmanager
async def running_service(
    torchserve: FakeTorchServe, settings: Mapping[str, object], tracing: Tracing | None = None
) -> AsyncIterator[Service]:
    """Yields when it is ready, or, where it cannot be, when it is up."""
    chosen = WebSettings.model_validate(
        dict.fromkeys(("inference_url", "management_url", "metrics_url"), torchserve.url)
        | {"key_file": torchserve.key_file, **settings}
    )
    config = create_config(create_app(chosen, tracing), chosen, Places(MAX_CONNECTIONS))
    config.port = 0
    config.timeout_graceful_shutdown = 1
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        assert not task.done()
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    connector, scheme = None, "http"
    if chosen.tls_certificate is not None:
        connector = aiohttp.TCPConnector(ssl=trusting(chosen.tls_certificate.read_text()))
        scheme = "https"
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30), connector=connector) as session:
        service = Service(f"{scheme}://127.0.0.1:{port}", session)

        async def is_ready() -> bool:
            models = await service.get("/models", headers={"X-API-Key": _key(chosen)})
            known = [model["weights"] != "unknown" for model in models.json["models"]]
            return all(known) and (await service.get("/readyz")).status == 200

        if torchserve.worker_status == "READY" and not torchserve.is_frozen and torchserve.is_listening:
            await until(is_ready)
        yield service
    server.should_exit = True
    await task


def _key(settings: WebSettings) -> str:
    return settings.api_keys[0] if settings.api_keys else "none"
