"""What TorchServe's configuration says besides ports and places: sizes, Java's memory, and what it loads."""

from __future__ import annotations

import json
import os
import re

from marserve.errors import MarserveError
from marserve.paths import CONFIG
from marserve.stack.deployments import KEPT_WORKERS, Deployments
from marserve.system.machine import VISIBLE_GPUS
from marserve.torchserve import properties
from marserve.web.settings import WebSettings

#: Pictures of the greatest size that the web service has at TorchServe at once: it sends what the workers can take, and
#: no more bytes together than one picture may have. Room for 127 workers, or for 15 of an archive that knows no groups.
PICTURES_ON_WAY = 128
#: Megabytes of Java's heap besides these.
OWN_HEAP_MB = 1000
#: Of the machine's memory, or the container's, what Java's heap may take at most: the workers need the rest.
HEAP_SHARE = 0.5
#: Megabytes of it that TorchServe needs however little there is.
LEAST_HEAP_MB = 256


def read_configuration(web: WebSettings, memory_bytes: int) -> dict[str, str | int]:
    """``config/config.properties``, its sizes of a request and of the heap raised where ``web`` takes larger pictures,
    and the heap and its queue lowered where ``memory_bytes``, the machine's or the container's, are few.

    Raises MarserveError where they do not suffice for larger pictures, or TorchServe would not start with the GPUs that
    the environment names.
    """
    visible = os.environ.get(VISIBLE_GPUS, "")
    if visible and not re.fullmatch(r"-?\d+(,-?\d+)*,*", visible):
        raise MarserveError(f"{VISIBLE_GPUS} = {visible!r}: TorchServe reads numbers alone; nvidia-smi -L lists them.")
    configured = properties.parse((CONFIG / "config.properties").read_text(encoding="utf-8"))
    arguments = configured["vmargs"].split()
    # The file has gigabytes: -Xmx3g.
    configured_mb = next(int(argument[4:-1]) * 1024 for argument in arguments if argument.startswith("-Xmx"))
    pictures = min(web.max_in_flight, PICTURES_ON_WAY)
    needed_mb = pictures * web.max_image_bytes // 1_000_000 + OWN_HEAP_MB
    if needed_mb > configured_mb and needed_mb * 1_000_000 > memory_bytes * HEAP_SHARE:
        raise MarserveError(
            f"MARSERVE_MAX_IMAGE_BYTES = {web.max_image_bytes} with MARSERVE_MAX_IN_FLIGHT = {web.max_in_flight} needs "
            f"{needed_mb / 1000:.1f} GB of memory in TorchServe, more than half of this machine's "
            f"{memory_bytes / 1e9:.1f} GB: lower one of the two."
        )
    wanted_mb = max(needed_mb, configured_mb)
    heap_mb = min(wanted_mb, max(LEAST_HEAP_MB, int(memory_bytes * HEAP_SHARE) >> 20))
    heap = f"-Xmx{heap_mb}m"
    return {
        **configured,
        # Of those who call TorchServe directly: the web service sends what the workers can take.
        "job_queue_size": int(configured["job_queue_size"]) * heap_mb // wanted_mb,
        # Base64 in JSON is the longest form of a picture.
        "max_request_size": max(int(configured["max_request_size"]), web.picture_body_bytes),
        "vmargs": " ".join(heap if argument.startswith("-Xmx") else argument for argument in arguments),
    }


def load_settings(deployments: Deployments, *, scaled: bool) -> dict[str, str]:
    """Those that have TorchServe serve ``deployments``, with the numbers of workers that were chosen where ``scaled``.

    Of the versions of a model the first one named becomes the default, whatever ``defaultVersion`` says, and 0 workers
    would count as not set.
    """
    workers: dict[str, dict[str, dict[str, int]]] = {}
    for name, model in deployments.models.items():
        counts = {model.current.version: model.current.workers if scaled else None}
        if model.before is not None:
            counts[model.before.version] = KEPT_WORKERS
        workers[name] = {version: {"minWorkers": n, "maxWorkers": n} for version, n in counts.items() if n}
    files = [f"{name}={one.archive}" for name, model in deployments.models.items() for one in model.versions]
    return {"load_models": ",".join(files), "models": json.dumps(workers)}
