"""How cost grows: images per second against workers, threads and cores, and what each further worker costs."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from bench import process_family
from bench.added_worker import READY_S, ManagementApi, add_workers
from bench.ask import ask_picture
from bench.candidates import Candidate
from bench.errors import BenchError, CandidateError
from bench.journal import Journal
from bench.options import COMPARED_AT, Options
from bench.our_server import OurServer
from bench.pictures import PictureSet
from bench.target import Target
from bench.workspace import Workspace
from bench.wrk import run_wrk, write_requests
from marserve.handler.resnet18.cpu import usable_cores
from marserve.terminal import say

PRECISION = "f32"
#: Workers that are added one by one, with one picture set after each.
MOST_ADDED = 3
EXERCISE_S = 3.0
EXERCISE_CLIENTS = 16


def growth_points(cores: int) -> list[tuple[int, int, int]]:
    """(workers, threads, cores): up to twice as many workers as cores with 1 and 2 threads, and on fewer cores."""
    whole = [(workers, threads, cores) for threads in (1, 2) for workers in range(1, 2 * min(cores, 4) + 1)]
    part = [(count, 1, count) for count in _halves(cores)]
    return part + whole


def measure_growth(
    workspace: Workspace, journal: Journal, options: Options, photographs: PictureSet, stock: Candidate | None
) -> None:
    """Measure each point once; one that fails is noted and left out."""
    checkouts: dict[int, Path] = {}
    for workers, threads, cores in growth_points(usable_cores()):
        fields = {"workers": workers, "precision": PRECISION, "candidate": f"{threads} threads, {cores} cores"}
        if journal.has("growth", **fields):
            continue
        server = OurServer(
            PRECISION, workspace, workers, threads, None if cores == usable_cores() else cores, levels=("TorchServe",)
        )
        server.checkout = checkouts.get(threads)
        try:
            if server.checkout is None:
                server.prepare()
                assert server.checkout is not None  # noqa: S101 - prepare has made it
                checkouts[threads] = server.checkout
            _measure_point(server, fields, threads, cores, journal, options, photographs, workspace)
        except BenchError as exc:
            journal.add("left out", candidate=server.key, title=server.title, reason=str(exc))
            say(f"  {server.title}: left out: {exc}")
    ours = OurServer(PRECISION, workspace, levels=("TorchServe",))
    for candidate in [ours, *([stock] if stock is not None else [])]:
        if not journal.has("workers added", candidate=candidate.key):
            try:
                _add_workers(candidate, journal, photographs, workspace)
            except BenchError as exc:
                journal.add("left out", candidate=f"{candidate.key} (workers)", title=candidate.title, reason=str(exc))
                say(f"  {candidate.title}: no workers added: {exc}")


def _measure_point(
    server: OurServer, fields: dict[str, object], threads: int, cores: int, journal: Journal, options: Options,
    photographs: PictureSet, workspace: Workspace,
) -> None:  # fmt: skip
    with server.run() as running:
        target = running.targets["TorchServe"]
        requests = _requests(target, photographs, workspace)
        run_wrk(target, requests, EXERCISE_CLIENTS, EXERCISE_S)
        many = run_wrk(target, requests, COMPARED_AT, options.seconds)
        alone = run_wrk(target, requests, 1, max(2.0, options.seconds / 2))
        memory = process_family.memory(running.mark).total_mb
    journal.add(
        "growth", **fields, threads=threads, cores=cores, per_second=many.per_second, failures=many.failures,
        lone_p50_ms=alone.p50_ms, total_mb=memory,
    )  # fmt: skip
    say(f"  {server.title}: {many.per_second:.1f}/s, lone client {alone.p50_ms:.1f} ms, {memory:.0f} MB")


def _add_workers(candidate: Candidate, journal: Journal, photographs: PictureSet, workspace: Workspace) -> None:
    candidate.prepare()
    with candidate.run() as running:
        target = next(iter(running.targets.values()))
        _wait_until_it_answers(target, photographs.pictures[0])
        requests = _requests(target, photographs, workspace)
        token = candidate.management_token() if isinstance(candidate, OurServer) else None
        api = ManagementApi(running.ports, token)
        added = add_workers(running, api, MOST_ADDED, lambda: run_wrk(target, requests, EXERCISE_CLIENTS, EXERCISE_S))
    ours = isinstance(candidate, OurServer)
    journal.add(
        "workers added",
        candidate=candidate.key,
        title=candidate.title,
        ours=ours,
        added=[vars(worker) for worker in added],
    )
    for worker in added:
        say(
            f"  {candidate.title}: worker {worker.workers} READY after {worker.seconds:.1f} s, {worker.extra_mb:.0f} MB"
        )


def _wait_until_it_answers(target: Target, picture: bytes) -> None:
    give_up = time.monotonic() + READY_S
    while (answer := ask_picture(target, picture)) is None or answer.status != 200:
        if time.monotonic() > give_up:
            raise CandidateError(f"It did not answer in {READY_S:.0f} s.")
        time.sleep(0.1)


def _requests(target: Target, photographs: PictureSet, workspace: Workspace) -> Path:
    directory = workspace.temp / "growth-requests"
    shutil.rmtree(directory, ignore_errors=True)
    write_requests(directory, target, photographs.pictures)
    return directory


def _halves(cores: int) -> Sequence[int]:
    counts = []
    while cores > 1:
        cores //= 2
        counts.append(cores)
    return sorted(counts)
