"""Open-loop load: each request is sent when it is due, whatever became of the others.

``generator.py`` sends it, in a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import REPOSITORY
from bench.errors import BenchError
from bench.generator import CONNECTIONS_USED_UP, GIVE_UP_S
from bench.target import Target

#: Milliseconds, of the 99th percentile from due to sent: beyond, the figures would be the generator's.
MOST_LAG_MS = 5.0
#: Seconds that the process may take besides the arrivals and ``GIVE_UP_S``.
SLACK_S = 30


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


def run_open_loop(
    target: Target, requests: Path, due: Sequence[float], *, first: int = 0, deadline_ms: int | None = None
) -> OpenLoad:
    """Send what ``wrk.write_requests`` wrote, from number ``first`` on and in turn, at the times ``due``.

    ``deadline_ms`` is sent as ``X-Request-Timeout-Ms``. Raises BenchError when the process itself fails.
    """
    results = requests / "open-loop.json"
    job = {
        "port": target.port, "requests": str(requests), "results": str(results), "due": list(due), "first": first,
        "deadline_ms": deadline_ms,
    }  # fmt: skip
    command = [
        *(["ip", "netns", "exec", target.namespace] if target.namespace else []),
        sys.executable, "-m", "bench.generator",
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, input=json.dumps(job), capture_output=True, text=True, cwd=REPOSITORY, check=False,
            timeout=due[-1] + GIVE_UP_S + SLACK_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired as exc:
        raise BenchError(f"The open-loop generator did not end {SLACK_S} s after its time was over.") from exc
    if done.returncode:
        raise BenchError(f"The open-loop generator failed: {done.stderr.strip()[-800:]}")
    result = json.loads(results.read_text(encoding="ascii"))
    lists = {name: tuple(result[name]) for name in ("sent", "answered", "status")}
    return OpenLoad(
        tuple(due), **lists,
        failures=result["failures"], cpu_s=result["cpu_s"], connections=result["connections"],
    )  # fmt: skip
