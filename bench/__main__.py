"""``./scripts/bench``: who takes part in a run, and its parts in their order."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from bench import REPOSITORY
from bench.campaign import Campaign, estimate_s
from bench.candidate import Candidate, Workspace, measured_keys
from bench.errors import BenchError, CandidateError, InstallationError, NoGpuError
from bench.gpu import Gpu, find_gpu
from bench.in_process import measure_in_process
from bench.machine import describe_machine
from bench.measurements import Journal, Summary, read_records
from bench.options import BenchOptions, chooses, parse_options
from bench.our_server import GPU_PRECISION, OurServer
from bench.peer_files import read_peers
from bench.peer_server import PeerServer, peer_version
from bench.pictures import COLORED, LARGE, PHOTOGRAPHS, PictureSet, in_color, make_large, read_photographs
from bench.reference import expected_answers
from bench.report import write_report
from bench.self_check import check_generator
from bench.wrk import wrk_program
from marserve.running import run_command
from marserve.terminal import say

RESULTS = REPOSITORY / "bench" / "results"
MEASUREMENTS = "measurements.jsonl"
OURS = "ours"


def main() -> int:
    """Measure and report, or only report."""
    options = parse_options(sys.argv[1:])
    if options.report_only is not None:
        say(str(write_report(Summary(read_records(options.report_only)), options.report_only.parent)))
        return 0
    return _bench(options, sys.argv[1:])


def _bench(options: BenchOptions, arguments: Sequence[str]) -> int:
    assert options.photographs is not None  # noqa: S101 - the command line was checked
    wrk_program()
    photographs = read_photographs(options.photographs)
    results = options.resume or RESULTS / datetime.now(timezone.utc).strftime("%Y-%m-%d-%H%M%S")
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        temp = Path(scratch)
        workspace = Workspace(temp, results, options.photographs, temp / "weights.pth")
        candidates = chosen_servers(workspace, options)
        gpu, reason = look_for_gpu(candidates)
        skipped = [candidate.key for candidate in candidates if candidate.device == "gpu"] if gpu is None else []
        if skipped:
            if len(skipped) == len(candidates):
                raise BenchError(f"Nothing can be measured: {reason}")
            say(f"Skipped, {len(skipped)} servers on a GPU: {reason}")
        if gpu is None and options.device == "all":  # neither is an archive of ours for a GPU built
            options = replace(options, device="cpu")
        _announce(chosen_servers(workspace, options), options)
        if options.dry_run:
            return 0
        journal = Journal(results / MEASUREMENTS)
        journal.add("machine", **describe_machine(list(arguments), gpu))
        if skipped:
            journal.add("skipped", candidates=skipped, reason=reason)
        say(f"Results: {results}")
        sets = {
            PHOTOGRAPHS: photographs, COLORED: in_color(photographs), LARGE: make_large(photographs, temp / "large")
        }  # fmt: skip
        for pictures in sets.values():
            journal.add("pictures", name=pictures.name, count=len(pictures.pictures), mean_kb=pictures.mean_kb)
        try:
            _measure(workspace, options, sets, journal)
        finally:
            report = write_report(Summary(journal.records), results)
            say(f"Report: {report}")
            say(f"If this run broke off: ./scripts/bench ... --resume {results}")
    return 0


def _measure(workspace: Workspace, options: BenchOptions, sets: dict[str, PictureSet], journal: Journal) -> None:
    expected = expected_answers(workspace.photographs, workspace.weights)
    # Without ours in the run the peers may still want its engine.
    ours, archives = prepare_ours(our_servers(workspace, options), journal)
    peers = prepare_peers(peer_servers(workspace, options, archives), journal)
    candidates: list[Candidate] = [*(ours if options.wants_server(OURS) else []), *peers]
    if {"rates", "bursts"} & set(options.parts) and not journal.has("generator"):
        check = check_generator(sets[COLORED], workspace.temp / "self-check")
        journal.add("generator", **vars(check))
        say(f"  open-loop generator: on time at {check.per_second}/s, {check.lag_p99_ms:.1f} ms late (99th percentile)")
    campaign = Campaign(journal, options, sets, expected, workspace.temp / "requests")
    for round_number in range(1, options.rounds + 1):
        if "limit" in options.parts:
            on_cpu = {name: archive for name, archive in archives.items() if name != GPU_PRECISION}
            measure_in_process(on_cpu, workspace.photographs, journal, options, round_number)
        if set(options.parts) - {"limit"}:
            campaign.run_round(candidates, round_number)


def chosen_servers(workspace: Workspace, options: BenchOptions) -> list[Candidate]:
    """All that the options choose, ours first."""
    ours = our_servers(workspace, options) if options.wants_server(OURS) else []
    return [*ours, *peer_servers(workspace, options, {})]


def look_for_gpu(candidates: Sequence[Candidate]) -> tuple[Gpu | None, str]:
    """The GPU where a candidate wants one, and why there is none."""
    if not any(candidate.device == "gpu" for candidate in candidates):
        return None, ""
    try:
        return find_gpu(Path(sys.executable)), ""
    except NoGpuError as exc:
        return None, str(exc)


def our_servers(workspace: Workspace, options: BenchOptions) -> list[OurServer]:
    """On the processor one for each precision, and one on a GPU."""
    on_cpu = [OurServer(precision, workspace) for precision in options.precisions if options.wants_device("cpu")]
    return [*on_cpu, *([OurServer(GPU_PRECISION, workspace, "gpu")] if options.wants_device("gpu") else [])]


def peer_servers(workspace: Workspace, options: BenchOptions, archives: dict[str, Path]) -> list[PeerServer]:
    """The chosen variants of the chosen peers; those with our engine once for each requested precision."""
    servers = []
    for peer in read_peers():
        if not options.wants_server(peer.name):
            continue
        for variant in peer.variants:
            if not options.wants_device(variant.device):
                continue
            precisions = options.engine_precisions if variant.is_ours else ("f32",)
            if variant.device == "gpu":
                precisions = (GPU_PRECISION,)
            servers += [PeerServer(peer, variant, workspace, archives, precision) for precision in precisions]
    return [server for server in servers if options.wants_variant(server.key)]


def prepare_ours(servers: list[OurServer], journal: Journal) -> tuple[list[OurServer], dict[str, Path]]:
    """Build the archives; those servers that can run, and their archives' content by precision."""
    ready, archives = [], {}
    for server in servers:
        say(f"Building {server.title} ...")
        try:
            server.prepare()
        except BenchError as exc:
            _leave_out(server, exc, journal)
            continue
        ready.append(server)
        archives[server.precision] = server.unpack()
    return ready, archives


def prepare_peers(servers: list[PeerServer], journal: Journal) -> list[PeerServer]:
    """Install what they need; those that can run."""
    ready = []
    versions: dict[str, str | None] = {}
    unusable: dict[str, str] = {}
    for server in servers:
        name = server.peer.name
        try:
            if name in unusable:
                raise InstallationError(unusable[name])
            python = server.prepare()
        except CandidateError as exc:
            if isinstance(exc, InstallationError):  # not tried again for each variant
                unusable[name] = str(exc)
            _leave_out(server, exc, journal)
            continue
        ready.append(server)
        versions[name] = versions.get(name) or peer_version(name, python)
    journal.add("peer versions", versions=versions)
    return ready


def _leave_out(server: OurServer | PeerServer, reason: BenchError, journal: Journal) -> None:
    say(f"  {server.title}: left out: {reason}")
    journal.add("left out", candidate=server.key, title=server.title, reason=str(reason))


def _announce(candidates: Sequence[Candidate], options: BenchOptions) -> None:
    minutes = estimate_s(candidates, options) / 60
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
