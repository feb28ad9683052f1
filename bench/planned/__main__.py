"""``python -m bench.planned``: what the planner predicts of one pod, beside what a real one does at the same arrivals.

A pod is started and measured as by ``marserve plan measure``. Then requests come to it in an open loop, by each kind of
arrivals and load, and the simulation is given the very same times. What was measured and what came of each request is
kept, so that a changed model is compared again without a server (``--from``). The exit status is 1 where a prediction
does not hold.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench import REPOSITORY
from bench.pictures import read_photographs
from bench.planned import session
from bench.planned.comparison import compare_all
from bench.planned.report import report_lines, spent_lines, with_section
from marserve.arguments import file, folder, positive
from marserve.plan.arrivals import arrival_process
from marserve.running import run_command
from marserve.terminal import say

#: Shares of the measured capacity.
LOADS = (0.5, 0.7, 0.85)
ARRIVALS = ("poisson", "gamma-4")
#: Of each load: of fewer, chance alone makes errors as large as those that are looked for.
SECONDS = 360.0
PAGE = REPOSITORY / "docs" / "planning.md"
RESULTS = REPOSITORY / "bench" / "results"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    directory = options.kept
    if directory is None:
        directory = options.keep or RESULTS / f"planned-{time.strftime('%Y-%m-%d-%H%M%S')}"
        if options.pictures is None:
            parser.error("give --pictures FOLDER, with photographs such as callers send, or --from FOLDER")
        if directory.exists() and any(directory.iterdir()):
            parser.error(f"--keep: {directory} is not empty; name a new folder")
        _run(options, directory)
    kept = session.read(directory)
    measurement, spec, compared = compare_all(kept)
    report = "\n".join(report_lines(measurement, spec, kept.parts, compared))
    say(report)
    say("\n".join(spent_lines(compared)))
    if options.write:
        PAGE.write_text(with_section(PAGE.read_text(encoding="utf-8"), report), encoding="utf-8")
    return 0 if all(each.error.holds for each in compared) else 1


def _run(options: argparse.Namespace, directory: Path) -> None:
    pictures = read_photographs(options.pictures).pictures
    pairs = session.order([arrival_process(name) for name in (*ARRIVALS, *options.traces)], options.loads)
    say(f"{session.seconds_planned(len(pairs), options.seconds) / 60:.0f} minutes, kept in {directory}")
    session.run(directory, pictures, pairs, options.seconds, options.archive)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.planned", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", metavar="FOLDER", type=folder, help="photographs such as callers send")
    parser.add_argument("--archive", metavar="FILE", type=file, help="what the pod serves (default: as marserve serve)")
    parser.add_argument("--traces", metavar="FILE", nargs="*", default=[], help="recorded arrivals besides")
    parser.add_argument("--loads", nargs="+", type=positive, default=LOADS, help=f"of the capacity (default: {LOADS})")
    parser.add_argument("--seconds", type=positive, default=SECONDS, help=f"of each load (default: {SECONDS:g})")
    parser.add_argument("--keep", metavar="FOLDER", type=Path, help="a new one (default: of today, in bench/results)")
    parser.add_argument(
        "--from", metavar="FOLDER", type=folder, dest="kept", help="compare what an earlier run has kept"
    )
    parser.add_argument("--write", action="store_true", help=f"write the tables into {PAGE.name}")
    return parser


if __name__ == "__main__":
    sys.exit(run_command(main))
