"""Load on a web service from a process of its own, and what came back, request by request.

Where it may, the process runs with real-time priority beside the servers on the same cores, since it stands for other
machines: on two busy cores a niceness of -10 sent up to 5 ms late (99th percentile), and this 0.3 ms.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from marserve.errors import MarserveError
from marserve.plan.generator import CONNECTIONS_USED_UP, GIVE_UP_S, Generator
from marserve.system.loopback import LOOPBACK, trusting

#: Milliseconds, of the 99th percentile from due to sent: beyond, the figures would be the generator's.
MOST_LAG_MS = 5.0
#: Seconds that the process may take besides the arrivals and ``GIVE_UP_S``.
SLACK_S = 30
#: Seconds between two signs of life.
POLL_S = 0.2


class LoadError(MarserveError):
    """The process that sends the load failed."""


@dataclass(frozen=True)
class LoadJob:
    """What is sent, when and where to; of ``due`` (an open loop) and ``clients`` (a closed one) one."""

    port: int
    #: A directory that ``write_requests`` has filled.
    requests: str
    due: Sequence[float] = ()
    clients: int = 0
    #: That the closed loop lasts.
    seconds: float = 0.0
    #: The number of the request that is sent first.
    first: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    host: str = LOOPBACK
    tls: bool = False
    #: A file with the certificate that alone is trusted, or with those of authorities.
    certificate: str | None = None
    ca: str | None = None
    #: A header of the answers.
    keeps: str = ""
    #: Seconds from when a request was due until it is given up.
    give_up_s: float = GIVE_UP_S


@dataclass(frozen=True)
class OpenLoad:
    """What came back, request by request; all times are seconds from the first moment."""

    due: tuple[float, ...]
    #: When it was written, or a connection for it was opened.
    sent: tuple[float, ...]
    #: When the answer was complete; meaningless where the status is 0.
    answered: tuple[float, ...]
    #: 0 where there was no answer.
    status: tuple[int, ...]
    #: How many got no answer, by the reason.
    failures: Mapping[str, int]
    #: Processor time of the generator.
    cpu_s: float
    connections: int
    #: The header of each answer that was to be kept; empty where it has none.
    kept: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """From the first moment until the last request was due."""
        return self.due[-1]

    def latencies_ms(self) -> list[float]:
        """Of the answers with status 200, from when the request was due, rising."""
        times = zip(self.due, self.answered, self.status, strict=True)
        return sorted((answered - due) * 1e3 for due, answered, status in times if status == 200)

    def within(self, limit_ms: float) -> int:
        """How many were answered with status 200 within ``limit_ms``."""
        return sum(latency <= limit_ms for latency in self.latencies_ms())

    @property
    def lag_p99_ms(self) -> float:
        """The 99th percentile of the time from due to sent."""
        lags = sorted(sent - due for due, sent in zip(self.due, self.sent, strict=True))
        return lags[min(len(lags) - 1, len(lags) * 99 // 100)] * 1e3

    @property
    def is_valid(self) -> bool:
        """Whether the figures are the server's, not the generator's."""
        return self.lag_p99_ms <= MOST_LAG_MS and not self.failures.get(CONNECTIONS_USED_UP)


def write_requests(
    directory: Path, method: str, path: str, headers: Mapping[str, str], bodies: Sequence[bytes]
) -> None:
    """Put what is sent into ``directory``, once for all loads."""
    directory.mkdir(parents=True, exist_ok=True)
    for number, body in enumerate(bodies):
        (directory / str(number)).write_bytes(body)
    head = [method, path, *(f"{name}\t{value}" for name, value in headers.items())]
    (directory / "head").write_text("\n".join(head), encoding="utf-8")
    (directory / "count").write_text(str(len(bodies)), encoding="ascii")


def read_requests(directory: Path, headers: Mapping[str, str], host: str = LOOPBACK) -> list[bytes]:
    """The requests of ``directory`` as they travel, with ``headers`` besides their own."""
    method, path, *lines = (directory / "head").read_text(encoding="utf-8").splitlines()
    fields = {"Host": host, **dict(line.split("\t", 1) for line in lines), **headers}
    head = "".join([f"{method} {path} HTTP/1.1\r\n", *(f"{name}: {value}\r\n" for name, value in fields.items())])
    count = int((directory / "count").read_text(encoding="ascii"))
    bodies = [(directory / str(number)).read_bytes() for number in range(count)]
    return [f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in bodies]


def run_load(job: LoadJob, *, prefix: Sequence[str] = (), alive: Callable[[], None] = lambda: None) -> OpenLoad:
    """Send it all; ``prefix`` begins the command of the process, and ``alive`` is called again and again.

    Raises LoadError when the process itself fails.
    """
    results = Path(job.requests) / "results.json"
    results.unlink(missing_ok=True)
    command = [*prefix, sys.executable, "-m", "marserve.plan.load"]
    lasts_s = max(job.seconds, job.due[-1] if job.due else 0.0)
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with process:
        late = threading.Timer(lasts_s + job.give_up_s + SLACK_S, process.kill)
        late.start()
        try:
            assert process.stdin is not None  # noqa: S101 - it was asked for
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps(asdict(job)))
                process.stdin.close()
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(POLL_S)
                    break
                alive()
        except BaseException:
            process.kill()
            raise
        finally:
            is_late = not late.is_alive()
            late.cancel()
        if process.returncode:
            assert process.stderr is not None  # noqa: S101
            why = (
                f"it did not end {SLACK_S} s after its time was over"
                if is_late
                else process.stderr.read().strip()[-800:]
            )
            raise LoadError(f"The load generator failed: {why}")
    result: dict[str, Any] = json.loads(results.read_text(encoding="ascii"))
    lists = {name: tuple(value) for name, value in result.items() if isinstance(value, list)}
    return OpenLoad(**(result | lists))


def main() -> int:
    """Be the process: a job on the standard input, what came of it in the directory of its requests."""
    import uvloop

    job = LoadJob(**json.load(sys.stdin))
    generator = Generator(
        job.port, read_requests(Path(job.requests), job.headers, job.host), job.due, job.first,
        clients=job.clients, seconds=job.seconds, host=job.host, tls=_trust(job), keeps=job.keeps,
        give_up_s=job.give_up_s,
    )  # fmt: skip
    with contextlib.suppress(PermissionError):  # only root may
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(ValueError):  # macOS says "no limit" and does not take that
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    gc.disable()
    before = _cpu_s()
    uvloop.run(generator.run())
    names = ("due", "sent", "answered", "status", "kept", "failures", "connections")
    result = {name: getattr(generator, name) for name in names} | {"cpu_s": _cpu_s() - before}
    (Path(job.requests) / "results.json").write_text(json.dumps(result), encoding="ascii")
    return 0


def _trust(job: LoadJob) -> ssl.SSLContext | None:
    if not job.tls:
        return None
    if job.certificate is not None:
        return trusting(Path(job.certificate).read_text(encoding="ascii"))
    return ssl.create_default_context(cafile=job.ca)


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    sys.exit(main())
