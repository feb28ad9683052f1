"""A visit measures a server that answers rightly; one that does not is left out; a resumed run goes on."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from bench import campaign, server_process
from bench.campaign import Campaign
from bench.candidate import RunningServer
from bench.gpu import Device
from bench.measurements import Journal
from bench.options import BenchOptions, parse_options
from bench.pictures import COLORED, PHOTOGRAPHS, PictureSet
from bench.reference import Expected
from bench.server_process import marked, started_process
from bench.target import BodyFormat, Target
from marserve.system.loopback import free_ports

SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        body = b'[{"label": "%s"}]' % sys.argv[2].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *arguments): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
pytestmark = pytest.mark.needs("wrk")


@dataclass
class SmallServer:
    """Answers each picture with ``label``."""

    logs: Path
    label: str = "tench"
    program: str = SERVER
    key: str = "small/recipe"
    title: str = "Small"
    levels: tuple[str, ...] = ("server",)
    uses_our_engine: bool = False
    device: Device = "cpu"
    marks: list[str] = field(default_factory=list)

    def prepare(self) -> None:
        """Nothing to prepare."""

    @contextmanager
    def run(self) -> Iterator[RunningServer]:
        (port,) = free_ports(1)
        log = self.logs / "small.log"
        command = [sys.executable, "-c", self.program, str(port), self.label]
        with marked(self.key) as mark, started_process(command, mark, {}, self.logs, log):
            self.marks.append(mark)
            target = Target(port, "/", BodyFormat())
            yield RunningServer(mark, {"server": target}, time.monotonic(), (port,), log)


@pytest.fixture
def options(tmp_path: Path) -> BenchOptions:
    return parse_options(
        [
            "--photographs",
            str(tmp_path),
            "--seconds",
            "1",
            "--warm-up",
            "1",
            "--rounds",
            "2",
            "--large",
            "nobody",
            "--curves",
            "nobody",
        ]
    )


def campaign_of(journal: Journal, options: BenchOptions, scratch: Path) -> Campaign:
    pictures = PictureSet(PHOTOGRAPHS, tuple(b"\xff\xd8" + bytes([number]) for number in range(20)))
    expected = [Expected(b"\xff\xd8", 0, ("tench", "n01440764"))]
    return Campaign(journal, options, {PHOTOGRAPHS: pictures, COLORED: pictures}, expected, scratch)


def test_visit_notes_start_memory_and_load_and_leaves_nothing_running(tmp_path: Path, options: BenchOptions) -> None:
    journal = Journal(tmp_path / "measurements.jsonl")
    server = SmallServer(tmp_path)
    campaign_of(journal, options, tmp_path / "requests").run_round([server], 1)
    assert [record["kind"] for record in journal.records] == ["start", "memory idle", "load", "memory loaded"]
    load = journal.records[2]
    assert (load["candidate"], load["device"], load["clients"]) == ("small/recipe", "cpu", 32)
    assert load["failures"] == 0
    assert load["ok"] > 10
    assert server_process.members(server.marks[0]) == []


def test_visit_finds_the_rates_and_sends_the_bursts(
    tmp_path: Path, options: BenchOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.rates.highest_held", lambda is_held, start, _: start if is_held(start) else None)
    monkeypatch.setattr("bench.rates.FIRST_SHARE", 0.5)
    monkeypatch.setattr("bench.rates.BURST_LOAD", 0.5)
    journal = Journal(tmp_path / "measurements.jsonl")
    wanted = replace(
        options, parts=("rates", "bursts"), rates=("small",), arrivals=options.arrivals[:1], rate_requests=100
    )
    runs = campaign_of(journal, wanted, tmp_path / "requests")
    server = SmallServer(tmp_path)
    runs.run_round([server], 1)
    kinds = [record["kind"] for record in journal.records if not record["kind"].startswith(("start", "memory"))]
    assert kinds == ["load", "open loop", "held rate", "held rate", "bursts"]
    runs.run_round([server], 1)
    assert len(server.marks) == 1
    journal_of_others = Journal(tmp_path / "others.jsonl")
    campaign_of(journal_of_others, replace(wanted, rates=("nobody",)), tmp_path / "requests").run_round([server], 1)
    assert journal_of_others.records == []


def test_resumed_run_measures_only_what_is_missing(tmp_path: Path, options: BenchOptions) -> None:
    file = tmp_path / "measurements.jsonl"
    server = SmallServer(tmp_path)
    campaign_of(Journal(file), options, tmp_path / "requests").run_round([server], 1)
    resumed = campaign_of(Journal(file), options, tmp_path / "requests")
    resumed.run_round([server], 1)
    assert len(server.marks) == 1
    resumed.run_round([server], 2)
    assert len(server.marks) == 2


@pytest.mark.parametrize(
    ("label", "program", "reason"),
    [("goldfish", SERVER, "tench"), ("tench", "print('no such module')", "did not start")],
)
def test_server_that_does_not_do_its_work_is_left_out_once_with_the_reason(
    tmp_path: Path, options: BenchOptions, monkeypatch: pytest.MonkeyPatch, label: str, program: str, reason: str
) -> None:
    monkeypatch.setattr(campaign, "START_S", 20)
    journal = Journal(tmp_path / "measurements.jsonl")
    server = SmallServer(tmp_path, label, program)
    runs = campaign_of(journal, options, tmp_path / "requests")
    runs.run_round([server], 1)
    runs.run_round([server], 2)
    (left_out,) = [record for record in journal.records if record["kind"] == "left out"]
    assert reason in left_out["reason"]
    assert len(server.marks) == 1
