"""The loads of a measurement, and what each process spent on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from marserve.plan.arrivals import ArrivalProcess
from marserve.plan.load import OpenLoad
from marserve.plan.service import LoadedService

#: Seconds of a round of the capacity, and until it reaches its rate.
ROUND_S, RAMP_S = 7.0, 1.0

#: Processor seconds so far of ``web``, ``torchserve`` and ``workers``; empty where they are elsewhere.
ReadCpu = Callable[[], Mapping[str, float]]


@dataclass(frozen=True)
class Stage:
    """One load: a closed loop of ``clients``, or requests that come at their own times."""

    done: OpenLoad
    #: Processor seconds of ``web``, ``torchserve`` and ``workers`` meanwhile; empty where they are elsewhere.
    cpu_s: Mapping[str, float]
    clients: int = 0
    #: By which the requests came: an arrival process, its share of the capacity, its rate and its seed.
    arrivals: str = ""
    load: float = 0.0
    per_s: float = 0.0
    seed: int = 0

    @property
    def is_open(self) -> bool:
        return not self.clients

    @property
    def rate_per_s(self) -> float:
        """Answers a second of a closed loop."""
        return len(self.saturated()) / saturated_s()

    def saturated(self) -> list[int]:
        """The answers of a closed loop, by number, its beginning and its end left out."""
        answers = enumerate(zip(self.done.status, self.done.answered, strict=True))
        return [number for number, (status, at) in answers if status == 200 and RAMP_S <= at <= ROUND_S]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Stage:
        done: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in content["done"].items()
        }
        return cls(**{**content, "done": OpenLoad(**done)})


def saturated_s() -> float:
    """Seconds of a round without its beginning."""
    return ROUND_S - RAMP_S


@dataclass(frozen=True)
class Loader:
    """Loads a service that is prepared."""

    service: LoadedService
    cpu_s: ReadCpu = dict
    #: Called again and again meanwhile.
    alive: Callable[[], None] = lambda: None

    def open(self, process: ArrivalProcess, load: float, per_s: float, seconds: float, seed: int) -> Stage:
        """``per_s`` requests a second at their own times, which are ``load`` of the capacity."""
        due = process.times(max(int(per_s * seconds), 1), per_s, seed)
        before = self.cpu_s()
        done = self.service.send(due, alive=self.alive)
        return Stage(done, self._spent(before), 0, process.name, load, per_s, seed)

    def closed(self, clients: int) -> Stage:
        """A round of so many clients that always have a request out."""
        before = self.cpu_s()
        done = self.service.send(clients=clients, seconds=ROUND_S, alive=self.alive)
        return Stage(done, self._spent(before), clients)

    def _spent(self, before: Mapping[str, float]) -> Mapping[str, float]:
        return {name: now - before.get(name, 0.0) for name, now in self.cpu_s().items()}
