"""What /metrics tells of TorchServe's workers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE, Popen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.unit.web.fake_torchserve import FakeTorchServe
from tests.unit.web.service import Service, until

pytestmark = pytest.mark.anyio

READY = 'web_model_workers{model="resnet18",state="ready",version="1.0"}'
LISTED = 'web_model_workers{model="resnet18",state="listed",version="1.0"}'


@pytest.fixture
def worker(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[int]:
    """A process with the name of a worker's program, or another one where the test names it."""
    program = tmp_path / getattr(request, "param", "model_service_worker.py")
    program.write_text("print(flush=True); input()")
    with Popen([sys.executable, program], stdin=PIPE, stdout=PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.kill()


async def memory_of(service: Service, pid: int) -> float:
    return await service.metric(f'web_worker_resident_memory_bytes{{model="resnet18",pid="{pid}",version="1.0"}}')


async def test_ready_and_listed_workers_are_counted(torchserve: FakeTorchServe, service: Service) -> None:
    assert (await service.metric(READY), await service.metric(LISTED)) == (1, 1)
    torchserve.workers = [100, 101, 102]

    async def all_are_seen() -> bool:
        return await service.metric(READY) == 3

    await until(all_are_seen)
    assert await service.metric(LISTED) == 3


async def test_dead_workers_are_listed_but_not_ready(torchserve: FakeTorchServe, service: Service) -> None:
    torchserve.worker_status = "UNLOADING"

    async def none_is_ready() -> bool:
        return await service.metric(READY) == 0

    await until(none_is_ready)
    assert await service.metric(LISTED) == 1


async def test_no_worker_counts_as_ready_once_torchserve_is_silent(
    torchserve: FakeTorchServe, service: Service
) -> None:
    torchserve.is_frozen = True

    async def none_is_ready() -> bool:
        return await service.metric(READY) == 0

    await until(none_is_ready)
    assert await service.metric(LISTED) == 1


async def test_memory_of_workers_is_told(torchserve: FakeTorchServe, service: Service, worker: int) -> None:
    torchserve.workers = [worker]

    async def is_told() -> bool:
        return await memory_of(service, worker) > 1e6

    await until(is_told)


@pytest.mark.parametrize("worker", ["something_else.py"], indirect=True)
async def test_memory_of_other_processes_is_not(torchserve: FakeTorchServe, service: Service, worker: int) -> None:
    """TorchServe in another container has process ids that belong to others here."""
    torchserve.workers = [worker, worker]

    async def is_seen() -> bool:
        return await service.metric(LISTED) == 2

    await until(is_seen)
    assert "web_worker_resident_memory_bytes{" not in (await service.get("/metrics")).body.decode()


async def test_the_machines_memory_is_told(service: Service) -> None:
    available = await service.metric("web_machine_memory_available_bytes")
    assert 0 < available < await service.metric("web_machine_memory_bytes")


async def test_torchserves_own_metrics_are_handed_on(service: Service, torchserve: FakeTorchServe) -> None:
    reply = await service.get("/metrics/torchserve")
    assert reply.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    (family,) = text_string_to_metric_families(reply.body.decode())
    assert [sample.value for sample in family.samples] == [7.0]
    await torchserve.stop()
    away = await service.get("/metrics/torchserve")
    assert (away.status, away.json["type"], away.headers["Retry-After"]) == (503, "ModelUnavailable", "5")
