"""How many actors a cluster has room for as long as the run lasts, also when a host is lost.

Ray starts the actors of a lost host again elsewhere, and keeps their work for them: where no host has room it may wait
for ever. So it is computed before anything starts. Readers and writers need no room beside them: each actor reads its
pictures and writes its results itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from marserve.errors import MarserveError

#: Hosts whose loss a run survives, unless a person says otherwise.
SPARE_HOSTS = 1
#: Ray counts in steps of 0.0001.
STEPS = 10_000


class DoesNotFitError(MarserveError):
    """The message says what would fit."""


@dataclass(frozen=True)
class Share:
    """What an actor or a task takes of a host, or what a host has left."""

    cpus: float
    gpus: float = 0.0
    memory_bytes: float = 0

    def times_in(self, room: Share) -> int:
        """How many of these ``room`` has."""
        pairs = ((room.cpus, self.cpus), (room.gpus, self.gpus), (room.memory_bytes, self.memory_bytes))
        times = [round(has * STEPS) // round(takes * STEPS) for has, takes in pairs if takes]
        return max(0, min(times, default=0))

    def times(self, number: float) -> Share:
        return Share(self.cpus * number, self.gpus * number, self.memory_bytes * number)

    def __str__(self) -> str:
        parts = [f"{self.cpus:g} {'CPU' if self.cpus == 1 else 'CPUs'}"]
        if self.gpus:
            parts.append(f"{self.gpus:g} {'GPU' if self.gpus == 1 else 'GPUs'}")
        if self.memory_bytes:
            parts.append(f"{self.memory_bytes / 1e9:.1f} GB")
        return ", ".join(parts)


@dataclass(frozen=True)
class Host:
    name: str
    #: What no other work has taken.
    free: Share
    #: The head and the driver's host cannot: the run ends with them.
    can_be_lost: bool = True


def most(hosts: Sequence[Host], actor: Share) -> int:
    """How many actors that take ``actor`` each have room on ``hosts``; none is split over two."""
    return sum(actor.times_in(host.free) for host in hosts)


def largest(hosts: Sequence[Host], actor: Share, number: int) -> list[Host]:
    """The ``number`` hosts whose loss costs most actors; none where there is one host alone."""
    losable = [host for host in hosts if host.can_be_lost and len(hosts) > 1]
    return sorted(losable, key=lambda host: (actor.times_in(host.free), host.free.cpus), reverse=True)[:number]


def actors_that_fit(
    hosts: Sequence[Host], actor: Share, *, wanted: int | None = None, spare_hosts: int = SPARE_HOSTS
) -> int:
    """How many to start: ``wanted``, or as many as still have room when the largest ``spare_hosts`` are lost.

    Raises DoesNotFitError where ``wanted``, or a single one, has not.
    """
    lost = largest(hosts, actor, spare_hosts)
    fit = most([host for host in hosts if host not in lost], actor)
    wanted = wanted or max(1, fit)
    if wanted <= fit:
        return wanted
    names = " and ".join(host.name for host in lost)
    ways = [f"--actors {fit}"] if fit else []
    if lost and (whole := most(hosts, actor)):
        fewer = f"--actors {whole} " if whole < wanted else ""
        ways.append(f"{fewer}--spare-hosts 0 (where a host is lost, the run ends, and the same command goes on)")
    ways.append(
        f"hosts with {actor.times(wanted - fit)} more in all" + (f", none larger than {lost[0].name}" if lost else "")
    )
    number = f"{wanted} {'actor' if wanted == 1 else 'actors'}"
    lines = [
        f"{number} of {actor} {'has' if wanted == 1 else 'have'} no room"
        f"{f' once {names} is lost' if lost else ''}, and Ray may wait for ever.",
        *(f"  {host.name}: {host.free} free{', may be lost' if host in lost else ''}" for host in hosts),
        f"What fits: {'; or '.join(ways)}.",
    ]
    raise DoesNotFitError("\n".join(lines))
