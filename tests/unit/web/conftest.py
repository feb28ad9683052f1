"""The whole service on a real socket, in front of a TorchServe that does what it is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from tests.unit.web.fake_torchserve import FakeTorchServe
from tests.unit.web.service import Service, StartService, running_service


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def torchserve(anyio_backend: str) -> AsyncIterator[FakeTorchServe]:
    fake = FakeTorchServe()
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
async def start_service(torchserve: FakeTorchServe) -> AsyncIterator[StartService]:
    """Starts services with settings of one's own; all are stopped in the end."""
    async with AsyncExitStack() as stack:

        async def start(**settings: object) -> Service:
            return await stack.enter_async_context(running_service(torchserve, settings))

        yield start


@pytest.fixture
async def service(start_service: StartService) -> Service:
    """A service with the default settings."""
    return await start_service()
