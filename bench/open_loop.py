"""Open-loop load on a server of the benchmark, which may be in a network namespace of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.errors import BenchError
from bench.target import Target
from marserve.plan.load import LoadError, LoadJob, OpenLoad, run_load


def run_open_loop(
    target: Target, requests: Path, due: Sequence[float], *, first: int = 0, deadline_ms: int | None = None
) -> OpenLoad:
    """Send what ``wrk.write_requests`` wrote, from number ``first`` on and in turn, at the times ``due``.

    ``deadline_ms`` is sent as ``X-Request-Timeout-Ms``. Raises BenchError when the process itself fails.
    """
    headers = {} if deadline_ms is None else {"X-Request-Timeout-Ms": str(deadline_ms)}
    prefix = ["ip", "netns", "exec", target.namespace] if target.namespace else []
    try:
        return run_load(LoadJob(target.port, str(requests), list(due), first=first, headers=headers), prefix=prefix)
    except LoadError as exc:
        raise BenchError(str(exc)) from exc
