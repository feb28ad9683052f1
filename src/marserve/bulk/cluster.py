"""Ray: its own on this machine, or a cluster that is there already."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from marserve.errors import MarserveError
from marserve.handler.resnet18.cpu import usable_cores
from marserve.system.machine import visible_gpus

#: Bytes of shared memory for what actors and the driver exchange: lists of names, and the archive. Pictures stay where
#: they are read.
OBJECT_STORE_BYTES = 200_000_000


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Ray is there inside the block: that at ``address``, else one of its own, which ends with this process."""
    # It would send what it is used for.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray
    from ray.data import DataContext

    own: dict[str, Any] = {"num_cpus": usable_cores(), "num_gpus": visible_gpus(), "include_dashboard": False}
    own["object_store_memory"] = OBJECT_STORE_BYTES
    try:
        ray.init(
            address or "local", log_to_driver=False, logging_level=logging.ERROR, **(own if address is None else {})
        )
    except (ConnectionError, RuntimeError, ValueError) as exc:
        raise MarserveError(f"Ray cannot be reached: {exc}") from exc
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        yield
    finally:
        ray.shutdown()


def places() -> tuple[int, bool]:
    """How many actors fit, and whether each has a GPU: one a GPU where there are some, else one a core."""
    import ray

    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    if gpus := int(resources.get("GPU", 0)):
        return gpus, True
    return int(resources.get("CPU", 0)), False
