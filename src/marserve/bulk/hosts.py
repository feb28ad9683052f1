"""The hosts of a Ray that is connected: what room they have, what they see, and what becomes of them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from marserve import __version__
from marserve.bulk.cluster import COPIES, ClusterError
from marserve.bulk.fit import Host, Share, actors_that_fit
from marserve.bulk.watch import Standing

#: Bytes of an actor without its archive: libraries, and what large pictures take while they are decoded.
ACTOR_BYTES = 600_000_000
#: Seconds for a host to say what it has.
HOST_S = 60.0


def places(archive_bytes: int, *, wanted: int | None, spare_hosts: int) -> tuple[int, Share]:
    """How many actors to start, and what each takes: a GPU where there is one, else a core. Raises DoesNotFitError."""
    found = _hosts()
    memory = ACTOR_BYTES + COPIES * archive_bytes
    actor = Share(0, 1, memory) if any(host.free.gpus >= 1 for host in found) else Share(1, 0, memory)
    return actors_that_fit(found, actor, wanted=wanted, spare_hosts=spare_hosts), actor


def standing() -> Standing:
    """What has become of hosts and actors."""
    import ray
    from ray._private.state import actors

    job = ray.JobID.from_hex(ray.get_runtime_context().get_job_id())
    states = [one["State"] for one in actors(job_id=job).values() if "MapWorker" in one["ActorClassName"]]
    names = frozenset(node["NodeManagerAddress"] for node in _nodes())
    return Standing(names, states.count("ALIVE"), sum(state not in ("ALIVE", "DEAD") for state in states))


def _hosts() -> list[Host]:
    """Those of the cluster, with what no other work has taken of them."""
    import ray
    from ray._private.state import available_resources_per_node

    free = available_resources_per_node()  # type: ignore[no-untyped-call]
    driver = ray.get_runtime_context().get_node_id()
    found = []
    for node in _nodes():
        has: Mapping[str, float] = free.get(node["NodeID"], {})
        share = Share(has.get("CPU", 0.0), has.get("GPU", 0.0), has.get("memory", 0.0))
        stays = node["NodeID"] == driver or "node:__internal_head__" in node["Resources"]
        found.append(Host(node["NodeManagerAddress"], share, can_be_lost=not stays))
    return found


def check_hosts(output: Path | None) -> None:
    """Raises ClusterError unless each host has this marserve and sees the same ``output``; None: no local folder.

    A folder of the same name that a host has for itself would take results that nobody ever finds.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    mark = secrets.token_hex(8)
    marked = None if output is None else output / f".{mark}"
    look = ray.remote(num_cpus=0, max_retries=0)(_look)
    try:
        if marked is not None:
            marked.write_text(mark, encoding="ascii")
        looking = {}
        for node in _nodes():
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            looking[node["NodeManagerAddress"]] = look.options(scheduling_strategy=there).remote(marked, mark)
        complaints = [line for host, answer in looking.items() for line in _complaints(host, answer, output)]
    finally:
        if marked is not None:
            marked.unlink(missing_ok=True)
    if complaints:
        raise ClusterError("\n".join(complaints))


def _nodes() -> list[dict[str, Any]]:
    import ray

    return [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def _look(marked: Path | None, mark: str) -> tuple[str, bool]:
    """The version of marserve on a host, and whether it sees ``mark``; runs there."""
    with suppress(OSError):
        return __version__, marked is None or marked.read_text(encoding="ascii") == mark
    return __version__, False


def _complaints(host: str, answer: Any, output: Path | None) -> Iterator[str]:
    import ray

    try:
        version, sees_output = ray.get(answer, timeout=HOST_S)
    except ray.exceptions.GetTimeoutError:
        yield f"{host} says nothing for {HOST_S:.0f} s."
    except ray.exceptions.RayError as exc:
        reason = str(exc).strip().splitlines()[-1]
        yield f'{host} cannot run this: pip install "marserve[ray]=={__version__}" there ({reason})'
    else:
        if version != __version__:
            yield f"{host} has marserve {version}, and this is {__version__}."
        if not sees_output:
            yield f"{host} does not see --output {output}: give a folder that all hosts share, or an object store (s3://...)."
