"""Measurements: each one line of JSON as soon as it is made, and all of them as medians over the rounds.

A run that breaks off keeps what it has.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.options import COMPARED_AT
from bench.pictures import LARGE, PHOTOGRAPHS

Record = dict[str, Any]
#: Named processes of this project's servers, by a word in their names; whatever else there is stands under "others".
PROCESSES = {"workers": "model_service_worker", "TorchServe's Java": "java", "web service": "web"}
#: The fields that identify a measurement.
_IDENTITY = ("kind", "candidate", "pictures", "round", "clients", "arrivals", "limit_ms", "rate")


class Journal:
    """The records of one file, those of an earlier part of the run included."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.records: list[Record] = read_records(file) if file.exists() else []
        self._known = {_identity(record) for record in self.records}
        if file.exists():
            _drop_broken_end(file)

    def add(self, kind: str, **fields: Any) -> Record:
        """Append one record."""
        record: Record = {"kind": kind, **fields}
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(record, ensure_ascii=False) + "\n")
        self.records.append(record)
        self._known.add(_identity(record))
        return record

    def has(self, kind: str, **fields: Any) -> bool:
        """Whether this measurement was made already."""
        return _identity({"kind": kind, **fields}) in self._known


def read_records(file: Path) -> list[Record]:
    """The records of ``file``; a last line that was cut off is left out. Raises BenchError for any other bad line."""
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines.pop()
    try:
        return [json.loads(line) for line in lines]
    except ValueError as exc:
        raise BenchError(f"{file} is not made of JSON lines ({exc}): give a file that ./scripts/bench wrote.") from exc


@dataclass(frozen=True)
class Spread:
    """Of the rounds' figures."""

    median: float
    lowest: float
    highest: float
    rounds: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Of at least one value."""
        figures = list(values)
        return cls(statistics.median(figures), min(figures), max(figures), len(figures))

    def text(self, decimals: int = 0) -> str:
        """``110 (98–121)``; the range only where there were several rounds."""
        median = f"{self.median:.{decimals}f}"
        if self.rounds == 1:
            return median
        return f"{median} ({self.lowest:.{decimals}f}–{self.highest:.{decimals}f})"


@dataclass(frozen=True)
class Served:
    """One server at one level, with one set of pictures and one number of clients."""

    key: str
    server: str
    title: str
    pictures: str
    clients: int
    ours: bool
    device: str
    per_second: Spread
    p50_ms: Spread
    p90_ms: Spread
    p99_ms: Spread
    requests: int
    failures: int

    @property
    def level(self) -> str:
        """``TorchServe``, ``web``; empty for servers with one level."""
        return self.key.removeprefix(self.server).strip("/")

    @property
    def name(self) -> str:
        """What tables call it."""
        return f"{self.title} ({self.level})" if self.level else self.title

    @property
    def is_this_project(self) -> bool:
        return self.server.startswith("ours/")

    @property
    def precision(self) -> str:
        """Of this project's servers and of peers with our engine."""
        return next((word for word in ("bf16", "int8", "f16") if word in self.server.split("/")[1].split()), "f32")


class Summary:
    """All records of a run, by what they are about."""

    def __init__(self, records: list[Record]) -> None:
        self.records = records
        self.served = _served(records)

    def on(self, device: str) -> Summary:
        """Without the loads of servers that compute on another device; records of old runs do not name theirs."""
        return Summary(
            [record for record in self.records if record["kind"] != "load" or record.get("device", "cpu") == device]
        )

    def of_kind(self, kind: str) -> list[Record]:
        return [record for record in self.records if record["kind"] == kind]

    def last(self, kind: str) -> Record | None:
        """The latest record of ``kind``."""
        found = self.of_kind(kind)
        return found[-1] if found else None

    def at(self, clients: int = COMPARED_AT, pictures: str = PHOTOGRAPHS) -> list[Served]:
        """The servers measured so, fastest first."""
        found = [one for one in self.served if one.clients == clients and one.pictures == pictures]
        return sorted(found, key=lambda one: -one.per_second.median)

    def large(self) -> list[Served]:
        """The servers measured with large pictures, fastest first."""
        found = [one for one in self.served if one.pictures == LARGE]
        return sorted(found, key=lambda one: -one.per_second.median)

    def curve(self, key: str) -> list[Served]:
        """One server against clients."""
        found = [one for one in self.served if one.key == key and one.pictures == PHOTOGRAPHS]
        return sorted(found, key=lambda one: one.clients)

    def curves(self) -> dict[str, list[Served]]:
        """Servers measured with more than one number of clients, fastest first."""
        keys = dict.fromkeys(one.key for one in sorted(self.served, key=lambda one: -one.per_second.median))
        found = {key: self.curve(key) for key in keys}
        return {key: curve for key, curve in found.items() if len(curve) > 1}

    def figure(self, kind: str, candidate: str, field: str) -> Spread | None:
        """Of ``field`` in the records of ``kind`` about ``candidate``; None where there are none."""
        values = [record[field] for record in self.of_kind(kind) if record["candidate"] == candidate]
        return Spread.of(values) if values else None

    def limit(self, precision: str, mode: str, field: str) -> Spread | None:
        """Of the in-process measurements: ``mode`` is ``throughput``, ``lone`` or ``lone, one core``."""
        return self.figure(f"limit {mode}", precision, field)

    def spent(self, key: str, pictures: str = PHOTOGRAPHS) -> dict[str, float]:
        """Milliseconds of one core for each answer of one of this project's servers at ``COMPARED_AT`` clients.

        By who spent them, the load generator and nobody included; medians of the rounds, empty where there are none.
        """
        machine = self.last("machine")
        identity = (key, pictures, COMPARED_AT)
        records = [
            record
            for record in self.of_kind("load")
            if (record["candidate"], record["pictures"], record["clients"]) == identity and "server_cpu_s" in record
        ]
        if machine is None or not records:
            return {}
        spent = [_spent(record, machine["cores"]) for record in records]
        return {who: statistics.median(each[who] for each in spent) for who in spent[0]}


def _spent(record: Record, cores: int) -> dict[str, float]:
    per_answer = dict.fromkeys((*PROCESSES, "others"), 0.0)
    for name, seconds in record["server_cpu_s"].items():
        who = next((who for who, word in PROCESSES.items() if word in name.split(" ")[-1]), "others")
        per_answer[who] += seconds
    per_answer["wrk"] = record["generator_cpu_s"]
    per_answer["unused"] = cores * record["seconds"] - sum(per_answer.values())
    return {who: 1000 * seconds / max(1, record["ok"]) for who, seconds in per_answer.items()}


def _drop_broken_end(file: Path) -> None:
    content = file.read_bytes()
    if content and not content.endswith(b"\n"):
        file.write_bytes(content[: content.rfind(b"\n") + 1])


def _identity(record: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(record.get(name) for name in _IDENTITY)


def _served(records: list[Record]) -> list[Served]:
    groups: dict[tuple[str, str, int], list[Record]] = {}
    for record in records:
        if record["kind"] == "load":
            groups.setdefault((record["candidate"], record["pictures"], record["clients"]), []).append(record)
    return [_one(key, pictures, clients, group) for (key, pictures, clients), group in groups.items()]


def _one(key: str, pictures: str, clients: int, group: list[Record]) -> Served:
    def spread(field: str) -> Spread:
        return Spread.of(record[field] for record in group)

    return Served(
        key=key,
        server=group[0]["server"],
        title=group[0]["title"],
        pictures=pictures,
        clients=clients,
        ours=group[0]["ours"],
        device=group[0].get("device", "cpu"),
        per_second=spread("per_second"),
        p50_ms=spread("p50_ms"),
        p90_ms=spread("p90_ms"),
        p99_ms=spread("p99_ms"),
        requests=sum(record["requests"] for record in group),
        failures=sum(record["failures"] for record in group),
    )
