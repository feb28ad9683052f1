"""Is the open-loop generator the bottleneck? Its highest rate against a server that only reads and answers.

As a script it is that server: ``python -m bench.self_check PORT``.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from bench import REPOSITORY
from bench.errors import BenchError
from bench.open_loop import run_open_loop
from bench.pictures import PictureSet
from bench.target import BodyFormat, Target
from bench.wrk import write_requests
from marserve.plan.arrivals import ArrivalProcess
from marserve.system.loopback import LOOPBACK, free_ports, is_free
from marserve.system.waiting import wait_until

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]"
#: Requests a second that are tried, as long as one is held.
RATES = (250, 500, 1000, 2000, 4000, 8000)
SECONDS = 2.0
#: A rate that was not held is tried again: something else may have happened on the machine.
ATTEMPTS = 2
#: Milliseconds from due to sent, of the 99th percentile.
MOST_LAG_MS = 1.0
START_S = 10.0


@dataclass(frozen=True)
class SelfCheck:
    """The highest rate that was held, and the run at it; rate 0: none was."""

    per_second: int
    lag_p99_ms: float
    cpu_ms: float


def check_generator(pictures: PictureSet, directory: Path) -> SelfCheck:
    """Poisson arrivals of ``pictures``, ever faster. Raises BenchError where the server does not start."""
    held = SelfCheck(0, 0.0, 0.0)
    with _idle_server() as target:
        write_requests(directory, target, pictures.pictures)
        for rate in RATES:
            due = ArrivalProcess("poisson").times(int(rate * SECONDS), rate, 0)
            loads = (run_open_loop(target, directory, due) for _ in range(ATTEMPTS))
            load = next((one for one in loads if one.lag_p99_ms < MOST_LAG_MS and not one.failures), None)
            if load is None:
                break
            held = SelfCheck(rate, load.lag_p99_ms, load.cpu_s / len(due) * 1e3)
    return held


@contextmanager
def _idle_server() -> Iterator[Target]:
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "bench.self_check", str(port)]
    with subprocess.Popen(command, cwd=REPOSITORY) as server:
        try:
            if not wait_until(lambda: not is_free(port), START_S, while_alive=lambda: server.poll() is None):
                raise BenchError("The server of the generator's self-check did not start.")
            yield Target(port, "/", BodyFormat("multipart"))
        finally:
            server.terminate()


class _Answering(asyncio.Protocol):
    """Reads each request to its end and answers at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        from httptools import HttpRequestParser

        self._transport = cast(asyncio.Transport, transport)
        self._parser = HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._transport.write(ANSWER)


async def serve(port: int) -> None:
    """Until the process is ended."""
    server = await asyncio.get_running_loop().create_server(_Answering, LOOPBACK, port, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve(int(sys.argv[1])))
