"""``./scripts/bench``."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from bench.bodies import BodyFormat
from bench.campaign import Campaign
from bench.candidates import Candidate, measured_keys
from bench.errors import BenchError
from bench.growth import growth_points, measure_growth
from bench.idle_server import idle_server
from bench.in_process import measure_in_process
from bench.journal import Journal, read_records
from bench.machine import describe_machine
from bench.options import COMPARED_AT, Options, chooses, parse_options
from bench.pictures import PictureSet, make_large, read_photographs
from bench.plan import LARGE, PHOTOGRAPHS, estimate_s
from bench.reference import expected_answers
from bench.report import write_report
from bench.roster import OURS, our_servers, peer_servers, prepare_ours, prepare_peers
from bench.summary import Summary
from bench.target import Target
from bench.workspace import REPOSITORY, Workspace
from bench.wrk import run_wrk, write_requests, wrk_program
from marserve.errors import MarserveError
from marserve.handler.resnet18.cpu import usable_cores
from marserve.running import run_command
from marserve.terminal import say

RESULTS = REPOSITORY / "bench" / "results"
MEASUREMENTS = "measurements.jsonl"
#: What the growth part compares with: one worker of this handler is added to another.
STOCK = "torchserve_stock"


def main() -> int:
    """Measure and report, or only report."""
    options = parse_options(sys.argv[1:])
    try:
        if options.report_only is not None:
            say(str(write_report(Summary(read_records(options.report_only)), options.report_only.parent)))
            return 0
        return _bench(options, sys.argv[1:])
    except BenchError as exc:
        raise MarserveError(str(exc)) from exc


def _bench(options: Options, arguments: Sequence[str]) -> int:
    assert options.photographs is not None  # noqa: S101 - the command line was checked
    wrk_program()
    photographs = read_photographs(options.photographs)
    results = options.resume or RESULTS / datetime.now(timezone.utc).strftime("%Y-%m-%d-%H%M%S")
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        temp = Path(scratch)
        workspace = Workspace(temp, results, options.photographs, temp / "weights.pth")
        ours = our_servers(workspace, options) if options.wants_server(OURS) else []
        peers = peer_servers(workspace, options, {})
        _announce([*ours, *peers], options)
        if options.dry_run:
            return 0
        journal = Journal(results / MEASUREMENTS)
        journal.add("machine", **describe_machine(list(arguments)))
        say(f"Results: {results}")
        sets = {PHOTOGRAPHS: photographs, LARGE: make_large(photographs, temp / "large")}
        for pictures in sets.values():
            journal.add("pictures", name=pictures.name, count=len(pictures.pictures), mean_kb=pictures.mean_kb)
        try:
            _measure(workspace, options, sets, journal)
        finally:
            report = write_report(Summary(journal.records), results)
            say(f"Report: {report}")
            say(f"If this run broke off: ./scripts/bench ... --resume {results}")
    return 0


def _measure(workspace: Workspace, options: Options, sets: dict[str, PictureSet], journal: Journal) -> None:
    photographs = sets[PHOTOGRAPHS]
    _measure_generator(workspace, photographs, journal)
    expected = expected_answers(workspace.photographs, workspace.weights)
    # Without ours in the run the peers may still want its engine.
    ours, archives = prepare_ours(our_servers(workspace, options), journal)
    peers = prepare_peers(peer_servers(workspace, options, archives), journal)
    candidates: list[Candidate] = [*(ours if options.wants_server(OURS) else []), *peers]
    campaign = Campaign(journal, options, sets, expected, workspace.temp / "requests")
    for round_number in range(1, options.rounds + 1):
        if "limit" in options.parts:
            measure_in_process(archives, workspace.photographs, journal, options, round_number)
        if "servers" in options.parts:
            campaign.run_round(candidates, round_number)
    if "growth" in options.parts and options.wants_server(OURS):
        stock = next((peer for peer in peers if peer.peer.name == STOCK), None)
        measure_growth(workspace, journal, options, photographs, stock)


def _measure_generator(workspace: Workspace, photographs: PictureSet, journal: Journal) -> None:
    if journal.has("generator"):
        return
    with idle_server() as server:
        target = Target(server.port, "/", BodyFormat())
        requests = workspace.temp / "generator"
        write_requests(requests, target, photographs.pictures)
        load = run_wrk(target, requests, COMPARED_AT, 3)
    journal.add("generator", per_second=load.per_second, cpu_s=load.generator_cpu_s)
    say(f"wrk alone: {load.per_second:.0f} requests/s of these pictures")


def _announce(candidates: Sequence[Candidate], options: Options) -> None:
    points = len(growth_points(usable_cores()))
    minutes = estimate_s(candidates, options, points) / 60
    rounds = "1 round" if options.rounds == 1 else f"{options.rounds} rounds"
    say(f"{rounds} of {len(candidates)} servers: about {minutes:.0f} minutes, and once the peers' installation.")
    for option, words in (("--curves", options.curves), ("--large", options.large)):
        for word in words:
            if not any(chooses(word, key) for candidate in candidates for _, key in measured_keys(candidate)):
                say(f"  {option} {word}: no server of this run is called so.")
    if options.dry_run:
        for candidate in candidates:
            say(f"  {candidate.key}")


if __name__ == "__main__":
    sys.exit(run_command(main))
