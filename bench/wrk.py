"""One measurement with the load generator wrk: some clients, each with one request after the other."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError
from bench.target import Target
from marserve.plan import load
from marserve.system.loopback import LOOPBACK

SCRIPT = Path(__file__).with_name("load.lua")
#: Seconds after which wrk counts a request as timed out; at 256 clients a slow server takes several for each.
TIMEOUT_S = 30
#: Seconds that wrk may take beyond its duration: to read the pictures, and to print.
SLACK_S = 60


@dataclass(frozen=True)
class Load:
    """What came back. Latencies are those of all answers, errors too, in milliseconds."""

    seconds: float
    requests: int
    #: Answers with a status above 399.
    status_errors: int
    connect_errors: int
    read_errors: int
    write_errors: int
    timeouts: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    #: Processor time of wrk itself, in seconds.
    generator_cpu_s: float

    @property
    def ok(self) -> int:
        """Requests answered with success; wrk counts answers, whatever their status, as requests."""
        return self.requests - self.status_errors

    @property
    def failures(self) -> int:
        """Everything that was not answered with success."""
        return self.status_errors + self.connect_errors + self.read_errors + self.write_errors + self.timeouts

    @property
    def per_second(self) -> float:
        """Successful answers per second."""
        return self.ok / self.seconds if self.seconds else 0.0


def wrk_program() -> str:
    """The path of wrk. Raises BenchError where it is not installed."""
    program = shutil.which("wrk")
    if program is None:
        raise BenchError("The load generator wrk is not installed.\n  Debian, Ubuntu:  apt-get install wrk")
    return program


def write_requests(directory: Path, target: Target, pictures: Sequence[bytes]) -> None:
    """Put what ``load.lua`` sends to ``target`` into ``directory``, once for all measurements of it."""
    encoded = [target.body.encode(picture) for picture in pictures]
    headers = {**(encoded[-1][1] if encoded else {}), **target.headers}
    load.write_requests(directory, "POST", target.path, headers, [body for body, _ in encoded])


def run_wrk(target: Target, requests: Path, clients: int, seconds: float, first: int = 0) -> Load:
    """Keep ``clients`` connections busy for whole ``seconds`` with what ``write_requests`` wrote, from ``first`` on.

    Raises BenchError when wrk itself fails, such as when nobody listens.
    """
    command = [
        *(["ip", "netns", "exec", target.namespace] if target.namespace else []),
        wrk_program(), "-t1", f"-c{clients}", f"-d{max(1, round(seconds))}s", f"--timeout={TIMEOUT_S}s",
        "-s", str(SCRIPT), f"http://{LOOPBACK}:{target.port}/", "--", str(requests), str(first),
    ]  # fmt: skip
    before = _children_cpu_s()
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + SLACK_S)
    except subprocess.TimeoutExpired as exc:
        raise BenchError(f"wrk did not end {SLACK_S} s after its time was over.") from exc
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if done.returncode or not lines:
        raise BenchError(f"wrk failed (status {done.returncode}): {(done.stderr or done.stdout).strip()[-500:]}")
    return _read(json.loads(lines[-1].removeprefix("RESULT ")), _children_cpu_s() - before)


def _read(result: dict[str, int], cpu_s: float) -> Load:
    return Load(
        seconds=result["duration_us"] / 1e6,
        requests=result["requests"],
        status_errors=result["status"],
        connect_errors=result["connect"],
        read_errors=result["read"],
        write_errors=result["write"],
        timeouts=result["timeout"],
        p50_ms=result["p50_us"] / 1e3,
        p90_ms=result["p90_us"] / 1e3,
        p99_ms=result["p99_us"] / 1e3,
        generator_cpu_s=cpu_s,
    )


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
