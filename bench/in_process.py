"""Rounds of the in-process limit: all cores for throughput, and one picture at a time for a lone client."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.journal import Journal
from bench.limit import BATCH, measure_limit
from bench.options import Options
from marserve.handler.resnet18.cpu import usable_cores
from marserve.handler.resnet18.engines.factory import MOST_THREADS
from marserve.terminal import say


def measure_in_process(
    archives: Mapping[str, Path], photographs: Path, journal: Journal, options: Options, round_number: int
) -> None:
    """One round, for every precision there is an unpacked archive of. Raises BenchError where a process fails."""
    cores = usable_cores()
    modes = {
        "throughput": {"processes": cores, "threads": 1, "batch": BATCH},
        # What a lone client could get at best: on all cores, which a worker that is alone takes, and on one.
        "lone": {"processes": 1, "threads": min(cores, MOST_THREADS), "batch": 1},
        "lone, one core": {"processes": 1, "threads": 1, "batch": 1},
    }
    for precision, archive in archives.items():
        for mode, arguments in modes.items():
            if journal.has(f"limit {mode}", candidate=precision, round=round_number):
                continue
            limit = measure_limit(archive, photographs, precision, seconds=options.seconds, **arguments)
            journal.add(f"limit {mode}", candidate=precision, round=round_number, **arguments, **vars(limit))
            if mode == "throughput":
                say(f"  in-process {precision}: {limit.images_per_second:.1f} images/s")
            else:
                say(f"  in-process {precision}: {limit.batch_ms:.1f} ms for one picture, {mode}")
