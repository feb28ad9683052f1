"""One pod of its own, measured and loaded in one session, and what it did, request by request, in files.

The machine may change its speed: each load comes in two parts, the second parts in the opposite order, and the capacity
is measured again after every two of them.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

from marserve.cli.measuring import describe, facts_of, own_pod, service_of
from marserve.errors import MarserveError
from marserve.plan.arrivals import ArrivalProcess
from marserve.plan.machine import Disturbance, Watch
from marserve.plan.measure import CLIENTS, PodFacts, Recording, record
from marserve.plan.measurement import Conditions
from marserve.plan.service import LoadedService
from marserve.plan.stages import Loader, Stage
from marserve.terminal import say

#: Of all arrivals, one for each part; others than those of the measurement.
SEEDS = (16, 17)
#: Loads from one round of the capacity to the next.
BETWEEN_ROUNDS = 2
#: Digits of seconds that are kept: microseconds.
DIGITS = 6
RECORDING, LOADS = "measurement.json", "loads"


@dataclass(frozen=True)
class Part:
    """A round of the capacity, or a half of a load, and what others took of the machine meanwhile."""

    stage: Stage
    disturbance: Disturbance


@dataclass(frozen=True)
class Session:
    recording: Recording
    #: In the order in which they ran.
    parts: tuple[Part, ...]


def order(processes: Sequence[ArrivalProcess], loads: Sequence[float]) -> list[tuple[ArrivalProcess, float]]:
    """Each process at each load; the processes by turns, each from another load on."""
    turned = [[(process, loads[(at + turn) % len(loads)]) for at in range(len(loads))]
              for turn, process in enumerate(processes)]  # fmt: skip
    return [one for ones in zip_longest(*turned) for one in ones if one is not None]


def seconds_planned(pairs: int, seconds: float) -> float:
    """About how long a session takes, from the start of the pod to its end."""
    rounds = 2 * pairs // BETWEEN_ROUNDS + 1
    return 30 + 115 + pairs * seconds + 2 * pairs * 2 + rounds * 8.5


def run(
    directory: Path,
    pictures: Sequence[bytes],
    pairs: Sequence[tuple[ArrivalProcess, float]],
    seconds: float,
    archive: Path | None,
) -> None:
    """Keep everything in ``directory``, as soon as it is known."""
    with own_pod(archive, 1) as (port, cold_start_s):
        service = LoadedService(service_of(port), pictures)
        facts = facts_of(port, service.address, cold_start_s)
        recording = record(service, facts, f"{len(pictures)} photographs")
        write_recording(directory, recording)
        measurement = recording.evaluated()
        say("\n".join(describe(measurement)))
        with service.prepared():
            parts = _parts(service, facts, pairs, seconds, measurement.capacity.per_s, measurement.pod.workers)
            for number, part in enumerate(parts):
                write_part(directory, number, part)


def _parts(
    service: LoadedService,
    facts: PodFacts,
    pairs: Sequence[tuple[ArrivalProcess, float]],
    seconds: float,
    capacity: float,
    workers: int,
) -> Iterator[Part]:
    loader = Loader(service, facts.cpu_s)

    def watched(load: Callable[[], Stage]) -> Part:
        watch = Watch(lambda: sum(facts.cpu_s().values()) + service.generator_cpu_s + time.process_time())
        part = Part(load(), watch.disturbance())
        _say(part.stage)
        return part

    closed = partial(loader.closed, CLIENTS * workers)
    for half, seed in enumerate(SEEDS):
        for number, (process, load) in enumerate(pairs[:: 1 - 2 * half]):
            if number % BETWEEN_ROUNDS == 0:
                yield watched(closed)
            yield watched(partial(loader.open, process, load, load * capacity, seconds / len(SEEDS), seed))
    yield watched(closed)


def _say(stage: Stage) -> None:
    if stage.is_open:
        latencies = stage.done.latencies_ms() or [0.0]
        middle, late = latencies[len(latencies) // 2], latencies[len(latencies) * 99 // 100]
        say(f"  {stage.arrivals} {stage.load:g}: p50 {middle:.1f} ms, p99 {late:.0f} ms")
    else:
        say(f"  capacity {stage.rate_per_s:.1f}/s")


def _name_of(stage: Stage) -> str:
    """For its file."""
    return re.sub(r"[^\w.-]", "-", f"{stage.arrivals}-{stage.load:g}") if stage.is_open else "capacity"


def _part(content: Mapping[str, Any]) -> Part:
    return Part(Stage.from_json(content["stage"]), Disturbance(**content["disturbance"]))


def write_recording(directory: Path, recording: Recording) -> None:
    stages = [stage.as_json() for stage in recording.stages]
    _write(directory / RECORDING, {"conditions": recording.conditions.model_dump(mode="json"), "stages": stages})


def write_part(directory: Path, number: int, part: Part) -> None:
    content = {"stage": part.stage.as_json(), "disturbance": asdict(part.disturbance)}
    _write(directory / LOADS / f"{number:02}-{_name_of(part.stage)}.json", content)


def _write(file: Path, content: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(_rounded(content)), encoding="utf-8")


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list | tuple) else value


def read(directory: Path) -> Session:
    """What ``run`` has kept. Raises MarserveError."""

    def content(file: Path) -> Any:
        return json.loads(file.read_text(encoding="utf-8"))

    try:
        kept = content(directory / RECORDING)
        recording = Recording(
            Conditions.model_validate(kept["conditions"]), tuple(map(Stage.from_json, kept["stages"]))
        )
        files = sorted((directory / LOADS).glob("*.json"))
        return Session(recording, tuple(map(_part, map(content, files))))
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise MarserveError(f"{directory} is no session of python -m bench.planned: {exc}") from exc
