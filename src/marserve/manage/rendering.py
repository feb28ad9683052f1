"""Status and log lines as text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from marserve.manage.status import Status, VersionStatus
from marserve.manage.workers import WorkerReport
from marserve.torchserve.log_lines import LogLine

_HEADER = ("MODEL", "VERSION", "WORKER", "PID", "STATE", "MEMORY", "QUEUE", "WAIT", "REQUESTS")
UNKNOWN = "-"
#: Fills the place of workers in the row of a version that has none.
NO_WORKER = WorkerReport(UNKNOWN, 0, "dead", None, None, None)


def render_status(status: Status) -> str:
    """One screen."""
    rows: list[Sequence[str]] = [_HEADER]
    for version in status.versions:
        first = _version_cells(version)
        for number, worker in enumerate(version.workers or [NO_WORKER]):
            left, right = first if number == 0 else (("", ""), ("", "", ""))
            rows.append((*left, *_worker_cells(worker), *right))
    answers = ", ".join(f"{rate:.1f}/s {kind}" for kind, rate in sorted(status.web_rates.items()) if rate) or "idle"
    lines = [
        f"Web port {status.web_port}: {'ready' if not status.web_reasons else 'NOT READY'}, {answers}"
        f"{', takes new archives' if status.takes_archives else ''}",
        "",
        *_aligned(rows),
        "",
        *(f"! {problem}" for problem in status.problems),
    ]
    if not status.problems:
        lines.append("All is well.")
    return "\n".join(lines)


def render_line(line: LogLine) -> str:
    """One line of the merged logs."""
    time = line.time.astimezone().strftime("%H:%M:%S.%f")[:-3]
    return f"{time} {line.source:<9} {line.level:<7} {line.origin}  {line.text}"


def _version_cells(version: VersionStatus) -> tuple[tuple[str, str], tuple[str, str, str]]:
    rate, wait = version.rates.requests_per_s, version.rates.queue_ms
    left = (version.model, f"{version.version}{' *' if version.is_default else ''}")
    queue = f"{version.queued}/{version.queue_capacity}"
    return left, (queue, UNKNOWN if wait is None else f"{wait:.1f} ms", UNKNOWN if rate is None else f"{rate:.1f}/s")


def _worker_cells(worker: WorkerReport) -> tuple[str, str, str, str]:
    if worker is NO_WORKER:
        return (UNKNOWN, UNKNOWN, "none", UNKNOWN)
    memory = UNKNOWN if worker.rss is None else f"{(worker.pss or worker.rss) / 1e6:.0f} MB"
    state = {"ready": "READY", "dead": "DEAD"}.get(worker.state, worker.state)
    return (worker.id, str(worker.pid) if worker.rss is not None else UNKNOWN, state, memory)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
