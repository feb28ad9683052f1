"""How many workers the machine can take."""

from __future__ import annotations

from collections.abc import Sequence

import psutil

from marserve.errors import MarserveError
from marserve.handler.resnet18.cpu import usable_cores
from marserve.manage.workers import WorkerReport

#: Bytes of a worker where none runs that could be measured: ResNet18 on OpenVINO has some 250 MB.
WORKER_BYTES = 400_000_000
#: Bytes that stay free for pictures in flight and everything else on the machine.
RESERVE_BYTES = 500_000_000


def check_memory(more: int, running: Sequence[WorkerReport]) -> None:
    """Raise MarserveError where the free memory does not suffice for ``more`` workers like the ``running`` ones."""
    each = max((report.rss for report in running if report.rss is not None), default=WORKER_BYTES)
    available = psutil.virtual_memory().available
    if more * each + RESERVE_BYTES > available:
        fitting = max(0, (available - RESERVE_BYTES) // each)
        raise MarserveError(
            f"{more} more workers of {each / 1e6:.0f} MB do not fit into the {available / 1e6:.0f} MB that are free; "
            f"{fitting} do. --force tries it all the same."
        )


def check_cores(workers: int) -> None:
    """Raise MarserveError for more workers than cores: they would only take the processor from each other."""
    cores = usable_cores()
    if workers > cores:
        raise MarserveError(
            f"{workers} workers are more than this machine's {cores} usable cores: each takes memory, and none gets "
            "faster. --force does it all the same."
        )
