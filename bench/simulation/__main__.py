"""``python -m bench.simulation``: tables of the autoscaler against fixed numbers of workers, and of answers in time."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from itertools import product
from pathlib import Path

from bench.simulation.dispatching import capacity_per_s, compare
from bench.simulation.server import SimulatedMachine, SimulationOutcome, simulate
from marserve.autoscale.rules import Rules
from marserve.plan import arrivals as traffic
from marserve.plan.arrivals import RecordingError, arrival_process, read_recording

#: Of what all workers answer with full batches; and how many requests each line of the table of deadlines is made of.
LOADS, REQUESTS = (0.5, 0.7, 0.85, 1.0, 1.2), 20_000
#: Seconds of each kind of traffic that is made up; of the daily curve, one day is squeezed into them.
SECONDS = 3600.0

EPILOG = """A recording is a CSV file with the column 'time' (seconds, or ISO 8601) and perhaps 'requests' (how many
came from then to the next row), a .txt file with one time a line, or the log of the web service,
.run/<web port>/logs/web.log. All times are simulated: each table of made-up traffic takes about half a minute.

With --deadline-ms, load is of what all workers do with full batches, and "late" is what was computed too late: the
service refuses those callers when their time is over."""


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.simulation",
        description="Show how the autoscaler fares against fixed numbers of workers; with --deadline-ms, how many "
        "requests are answered in time by a queue alone, the web service's dispatcher, and who knows all beforehand.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("recording", nargs="?", type=Path, help="recorded traffic (default: three kinds made up)")
    parser.add_argument("--cores", type=int, default=8, help="of the machine; workers have one each (default: 8)")
    parser.add_argument("--picture-ms", type=float, default=15.0, help="a worker's time for one picture (default: 15)")
    parser.add_argument("--start-s", type=float, default=1.0, help="a worker's time to start (default: 1)")
    parser.add_argument("--target-ms", type=float, default=Rules.target_wait_s * 1000, help="mean wait (default: 100)")
    parser.add_argument("--quiet-s", type=float, default=Rules.down_after_s, help="before one goes (default: 60)")
    parser.add_argument("--deadline-ms", type=float, help="of every request: show how many are answered in time")
    parser.add_argument("--seed", type=int, default=18, help="of all chance (default: 18)")
    options = parser.parse_args()
    deadline_ms = 1 if options.deadline_ms is None else options.deadline_ms
    times = (options.picture_ms, options.start_s, options.target_ms, options.quiet_s, deadline_ms)
    if options.cores < 1 or min(times) <= 0:
        parser.error("all numbers must be positive")
    machine = SimulatedMachine(picture_s=options.picture_ms / 1000, start_s=options.start_s)
    if options.deadline_ms is not None:
        try:
            print_in_time(machine, options.cores, options.deadline_ms / 1000, options.recording, options.seed)
        except RecordingError as exc:
            parser.error(str(exc))
        return 0
    autoscaled = [
        Rules(minimum, options.cores, target_wait_s=options.target_ms / 1000, down_after_s=options.quiet_s)
        for minimum in sorted({1, max(1, options.cores // 4)})
    ]
    kinds: dict[str, Callable[[], Iterable[float]]]
    if options.recording is not None:
        try:
            recorded = read_recording(options.recording)
        except RecordingError as exc:
            parser.error(str(exc))
        kinds = {options.recording.name: lambda: recorded}
    else:
        kinds = made_up(options.cores / machine.picture_s, options.seed)
    print("| traffic | workers | wait p50 ms | wait p99 ms | refused % | workers, mean | most | changes |")
    print("|---|---|---|---|---|---|---|---|")
    for name, arrivals in kinds.items():
        variants: list[int | Rules] = [*fixed_counts(options.cores), *autoscaled]
        for scaling in variants:
            outcome = simulate(arrivals(), machine, scaling, cores=options.cores, seed=options.seed)
            print(line(name, scaling, outcome), flush=True)
    return 0


def print_in_time(
    machine: SimulatedMachine, workers: int, deadline_s: float, recording: Path | None, seed: int
) -> None:
    """The table of what is answered in time, by kind of arrivals and load."""
    names = ["poisson", "gamma-2", "gamma-4"] if recording is None else [str(recording)]
    print("| arrivals | load | queue alone % | dispatcher % | all-knowing % | of all-knowing % | refused % | late |")
    print("|---|---|---|---|---|---|---|---|")
    for process, load in product(map(arrival_process, names), LOADS):
        arrivals = process.times(REQUESTS, load * capacity_per_s(machine, workers), seed)
        found = compare(arrivals, machine, workers=workers, deadline_s=deadline_s, seed=seed)
        counts = (found.by_queue, found.by_dispatcher, found.all_knowing)
        shares = [f"{100 * answered / found.requests:.1f}" for answered in counts]
        of_best = f"{100 * found.by_dispatcher / found.all_knowing:.1f}"
        refused = f"{100 * found.refused / found.requests:.1f}"
        print(f"| {' | '.join([process.name, str(load), *shares, of_best, refused, str(found.late)])} |", flush=True)


def made_up(capacity_per_s: float, seed: int) -> dict[str, Callable[[], Iterable[float]]]:
    """Traffic for a machine that answers ``capacity_per_s`` requests a second with all of its cores."""
    return {
        "steady, 40 % of the machine": lambda: traffic.steady(0.4 * capacity_per_s, SECONDS, seed),
        "5 %, and 70 % for a minute every ten": lambda: traffic.burst(
            0.05 * capacity_per_s, 0.7 * capacity_per_s, SECONDS, seed
        ),
        "a day in an hour, 5 to 75 %": lambda: traffic.daily(
            0.05 * capacity_per_s, 0.75 * capacity_per_s, SECONDS, seed
        ),
    }


def fixed_counts(cores: int) -> list[int]:
    """One worker, half of the cores, three quarters and all."""
    return sorted({1, max(1, cores // 2), max(1, 3 * cores // 4), cores})


def line(name: str, scaling: int | Rules, outcome: SimulationOutcome) -> str:
    """One line of the table."""
    workers = f"{scaling}" if isinstance(scaling, int) else f"autoscaled {scaling.minimum}..{scaling.maximum}"
    cells = [
        name,
        workers,
        f"{outcome.wait_p50_s * 1000:.0f}",
        f"{outcome.wait_p99_s * 1000:.0f}",
        f"{100 * outcome.refused / outcome.requests:.1f}",
        f"{outcome.mean_workers:.1f}",
        f"{outcome.most_workers}",
        f"{outcome.changes}",
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
