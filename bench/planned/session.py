"""One pod of its own, measured and loaded in one session, and what it did, request by request, in files.

The machine changes its speed by itself, so that a measurement in one block and the loads after it would see two
machines. Here the stages of the measurement, which are those of ``marserve plan measure``, stand between the loads, and
each load comes in parts of at most a minute, every other time in the opposite order.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from math import ceil
from pathlib import Path
from statistics import fmean
from typing import Any

from marserve.cli.measuring import describe, facts_of, own_pod, service_of
from marserve.errors import MarserveError
from marserve.plan import measure
from marserve.plan.arrivals import ArrivalProcess
from marserve.plan.machine import Disturbance, Watch
from marserve.plan.measure import Recording
from marserve.plan.measurement import Conditions
from marserve.plan.service import LoadedService
from marserve.plan.stages import Loader, Stage
from marserve.terminal import say

#: Of all arrivals of the first parts, those after them have the next ones; others than those of the measurement.
SEED = 20
#: Seconds of a part at most, and parts of a load at least.
MOST_PART_S, FEWEST_PARTS = 60.0, 2
#: Digits of seconds that are kept: microseconds.
DIGITS = 6
RECORDING, LOADS = "measurement.json", "loads"

#: Arrivals, and their mean rate over the capacity.
Pair = tuple[ArrivalProcess, float]


@dataclass(frozen=True)
class Part:
    """A part of a load, and what others took of the machine meanwhile."""

    stage: Stage
    disturbance: Disturbance


@dataclass(frozen=True)
class Session:
    recording: Recording
    #: In the order in which they ran.
    parts: tuple[Part, ...]


def order(processes: Sequence[ArrivalProcess], loads: Sequence[float]) -> list[Pair]:
    """Each process at each load; the processes by turns, each from another load on."""
    turned = [[(process, loads[(at + turn) % len(loads)]) for at in range(len(loads))]
              for turn, process in enumerate(processes)]  # fmt: skip
    return [one for ones in zip_longest(*turned) for one in ones if one is not None]


def begun_after(stages: int, parts: int) -> int:
    """How many of the parts of loads come before the next stage of the measurement: none after its last one."""
    return min(round(parts * stages / (measure.STAGES - 1)), parts)


def parts_of(pairs: Sequence[Pair], seconds: float) -> list[tuple[Pair, int]]:
    """All parts of loads of so many seconds each, in the order in which they run, with their seeds."""
    count = _count(seconds)
    return [(pair, SEED + turn) for turn in range(count) for pair in pairs[:: 1 - 2 * (turn % 2)]]


def _count(seconds: float) -> int:
    """Of the parts of a load."""
    return max(ceil(seconds / MOST_PART_S), FEWEST_PARTS)


def seconds_planned(pairs: int, seconds: float) -> float:
    """About how long a session takes, from the start of the pod to its end."""
    return 30 + measure.seconds_planned() + pairs * (seconds + 2 * _count(seconds))


def run(
    directory: Path,
    pictures: Sequence[bytes],
    pairs: Sequence[Pair],
    seconds: float,
    archive: Path | None,
) -> None:
    """Keep everything in ``directory``: each part of a load as soon as it is known."""
    parts = parts_of(pairs, seconds)
    with own_pod(archive, 1) as (port, cold_start_s):
        service = LoadedService(service_of(port), pictures)
        facts = facts_of(port, service.address, cold_start_s)
        began = 0

        def between(loader: Loader, stages: Sequence[Stage]) -> None:
            nonlocal began
            capacity = fmean(stage.rate_per_s for stage in stages if not stage.is_open)
            while began < begun_after(len(stages), len(parts)):
                (process, load), seed = parts[began]
                watch = Watch(lambda: sum(facts.cpu_s().values()) + service.generator_cpu_s + time.process_time())
                stage = loader.open(process, load, load * capacity, seconds / _count(seconds), seed)
                write_part(directory, began, Part(stage, watch.disturbance()))
                began += 1

        recording = measure.record(service, facts, f"{len(pictures)} photographs", between)
        write_recording(directory, recording)
        say("\n".join(describe(recording.evaluated())))


def _name_of(stage: Stage) -> str:
    """For its file."""
    return re.sub(r"[^\w.-]", "-", f"{stage.arrivals}-{stage.load:g}")


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
