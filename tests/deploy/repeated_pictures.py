"""How many repeated pictures several web services answer from their caches behind haproxy, by how it spreads them.

``python -m tests.deploy.repeated_pictures`` measures it in three minutes and prints a table. The web services and
haproxy are real; TorchServe is not, so that nothing but the caches matters.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import struct
import subprocess
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import aiohttp

from marserve.system.waiting import wait_until
from tests.deploy.proxy import proxy
from tests.requirements import is_there
from tests.unit.web.fake_torchserve import FakeTorchServe
from tests.unit.web.service import form, running_service

#: Bytes of a picture, as a photograph has them.
PICTURE_BYTES = 110_000
CLIENTS = 8


@dataclass(frozen=True)
class Load:
    """The picture of rank r comes as often as 1 / r says (Zipf's law, exponent 1)."""

    pictures: int
    requests: int

    def drawn(self) -> list[int]:
        ranks = range(self.pictures)
        return random.Random(7).choices(ranks, [1 / (rank + 1) for rank in ranks], k=self.requests)  # noqa: S311

    @property
    def repeated(self) -> float:
        """The share that no cache can exceed."""
        return 1 - len(set(self.drawn())) / self.requests


@dataclass(frozen=True)
class Shares:
    #: Of requests that were answered without a worker.
    hits: float
    #: Of requests, by host.
    by_host: Sequence[float]
    #: Milliseconds of one core that haproxy takes for a request.
    proxy_ms: float


def picture(number: int) -> bytes:
    """The same for the same number; it differs from others in its last bytes, too."""
    return b"\xff\xd8\xff\xe0" + struct.pack(">Q", number) * (PICTURE_BYTES // 8)


@asynccontextmanager
async def web_services(count: int, **settings: object) -> AsyncIterator[list[tuple[FakeTorchServe, str]]]:
    """Web services with TorchServes of their own."""
    async with AsyncExitStack() as stack:
        started = []
        for _ in range(count):
            torchserve = FakeTorchServe()
            await torchserve.start()
            stack.push_async_callback(torchserve.stop)
            service = await stack.enter_async_context(running_service(torchserve, settings))
            started.append((torchserve, service.url.partition("://")[2]))
        yield started


async def measure(
    load: Load, count: int, directory: Path, variables: Mapping[str, str], settings: Mapping[str, object]
) -> Shares:
    """``count`` hosts with ``settings``, behind haproxy with ``variables``."""
    async with web_services(count, **settings) as started:
        lines = [f"host{number} {address}" for number, (_, address) in enumerate(started)]
        with proxy(directory, lines, **variables) as balancer:
            for number in range(count):
                assert await asyncio.to_thread(wait_until, partial(balancer.is_in_rotation, f"host{number}"), 10)
            drawn = iter(load.drawn())
            seen: Counter[str] = Counter()

            async def keep_sending(session: aiohttp.ClientSession) -> None:
                for number in drawn:
                    body = form(picture(number)) if number % 2 else picture(number)
                    async with session.post(f"{balancer.url}/classify", data=body) as reply:
                        assert reply.status == 200, await reply.text()
                        seen[reply.headers["X-Cache"]] += 1

            async with aiohttp.ClientSession() as session:
                await asyncio.gather(*(keep_sending(session) for _ in range(CLIENTS)))
            used_s = balancer.cpu_seconds()
            by_host = [server.requests for name, server in balancer.servers().items() if name.startswith("host")]
        computed = sum(len(torchserve.pictures) for torchserve, _ in started)
    return Shares(
        1 - computed / load.requests,
        [one / sum(by_host) for one in by_host],
        used_s * 1000 / load.requests,
    )


async def compare(load: Load, entries: int) -> None:
    alone: dict[str, object] = {"cache_max_entries": entries}
    rows: list[tuple[str, int, dict[str, str], dict[str, object]]] = [
        ("one host", 1, {}, alone),
        ("one host with twice the entries", 1, {}, {"cache_max_entries": 2 * entries}),
        ("two hosts, least connections", 2, {}, alone),
        ("two hosts, affinity", 2, {"PROXY_AFFINITY": "1"}, alone),
    ]
    print(f"{load.requests} requests, {load.pictures} pictures, {load.repeated:.1%} repeated; {entries} entries a host")
    print("| | without a worker | by host | haproxy |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as directory, redis(Path(directory)) as url:
        if url:
            rows.append(("two hosts, least connections, one Redis", 2, {}, {"cache_url": url}))
        for name, count, variables, settings in rows:
            shares = await measure(load, count, Path(directory), variables, settings)
            by_host = " / ".join(f"{share:.0%}" for share in shares.by_host)
            print(f"| {name} | {shares.hits:.1%} | {by_host} | {shares.proxy_ms:.2f} ms |", flush=True)


@contextmanager
def redis(directory: Path) -> Iterator[str | None]:
    """Its address; None where there is none."""
    if not is_there("redis-server"):
        yield None
        return
    socket = directory / "redis.sock"
    command = ["redis-server", "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(directory)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait_until(socket.exists, 10)
        yield f"unix://{socket}"
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--requests", type=int, default=8000)
    parser.add_argument("--entries", type=int, default=200, help="results that each host keeps")
    given = parser.parse_args()
    asyncio.run(compare(Load(given.pictures, given.requests), given.entries))
