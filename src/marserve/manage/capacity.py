"""How many workers the machine can take."""

from __future__ import annotations

from collections.abc import Sequence

from marserve.errors import MarserveError
from marserve.manage.workers import WorkerReport
from marserve.system.machine import read_machine

#: Bytes of a worker where none runs that could be measured: ResNet18 on OpenVINO has some 250 MB.
WORKER_BYTES = 400_000_000


def check_memory(more: int, running: Sequence[WorkerReport]) -> None:
    """Raise MarserveError where the free memory does not suffice for ``more`` workers like the ``running`` ones."""
    each = max((report.rss for report in running if report.rss is not None), default=WORKER_BYTES)
    machine = read_machine()
    if more * each > machine.spare_bytes:
        raise MarserveError(
            f"{more} more workers of {each / 1e6:.0f} MB do not fit into the {machine.available_bytes / 1e6:.0f} MB of "
            f"memory that are left, of which {machine.reserve_bytes / 1e6:.0f} MB stay free; "
            f"{machine.spare_bytes // each} do. --force tries it all the same."
        )


def check_cores(workers: int) -> None:
    """Raise MarserveError for more workers than cores: they would only take the processor from each other."""
    cores = read_machine().cores
    if workers > cores:
        raise MarserveError(
            f"{workers} workers are more than this machine's {cores} usable cores: each takes memory, and none gets "
            "faster. --force does it all the same."
        )
