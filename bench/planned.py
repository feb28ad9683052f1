"""``python -m bench.planned``: what the planner predicts of one pod, beside what a real one does at the same arrivals.

A pod is started and measured as by ``marserve plan measure``. Then requests come to it in an open loop, by each kind of
arrivals and load, and the simulation is given the very same times. What both did is kept, so that a changed model can
be compared again without a server (``--again``).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

from bench import REPOSITORY
from bench.pictures import read_photographs
from bench.report import table
from marserve.arguments import file, folder, positive
from marserve.cli.measuring import describe, facts_of, own_pod, service_of
from marserve.plan.arrivals import ArrivalProcess, arrival_process
from marserve.plan.calibration import simulate_pod
from marserve.plan.load import MOST_LAG_MS
from marserve.plan.measure import measure
from marserve.plan.measurement import Measurement
from marserve.plan.service import LoadedService
from marserve.running import run_command
from marserve.terminal import say

#: Shares of the measured capacity.
LOADS = (0.5, 0.7, 0.85)
ARRIVALS = ("poisson", "gamma-4")
LIMITS_MS = (100, 250)
#: What the prediction must be within: as a share of what is real, and in points of the share within 100 ms.
MOST_OFF, MOST_POINTS = 0.15, 5.0
SECONDS = 40.0
SEED = 16
#: Simulations of each run, each with chances of its own.
PREDICTIONS = 5
PAGE = REPOSITORY / "docs" / "planning.md"
BEGIN, END = "<!-- checked -->", "<!-- end of checked -->"
RESULTS = REPOSITORY / "bench" / "results" / "planned"


@dataclass(frozen=True)
class CheckedRun:
    """One load; ``took`` has the seconds from due to answered of each request, None where there was no answer."""

    arrivals: str
    load: float
    per_s: float
    due: list[float]
    took: list[float | None]
    #: Milliseconds that the generator was late: the 99th percentile.
    lag_p99_ms: float
    generator_cpu_s: float
    #: What the service says of each in Server-Timing, to see where a prediction goes wrong.
    timings: list[str]


@dataclass(frozen=True)
class Waits:
    """What callers feel; milliseconds, and shares of all requests within ``LIMITS_MS``."""

    p50_ms: float
    p99_ms: float
    within: dict[int, float]

    @classmethod
    def of(cls, took: Sequence[float | None]) -> Waits:
        rising = sorted(seconds * 1e3 for seconds in took if seconds is not None)
        p50, p99 = (
            rising[min(len(rising) - 1, len(rising) * percent // 100)] if rising else 0.0 for percent in (50, 99)
        )
        return cls(p50, p99, {limit: sum(each <= limit for each in rising) / len(took) for limit in LIMITS_MS})


@dataclass(frozen=True)
class Comparison:
    run: CheckedRun
    real: Waits
    predicted: Waits

    @property
    def off(self) -> tuple[float, float]:
        """Of p50 and p99, as shares of what is real: positive where the prediction is too long."""
        return self.predicted.p50_ms / self.real.p50_ms - 1, self.predicted.p99_ms / self.real.p99_ms - 1

    @property
    def points(self) -> float:
        """Of the share within 100 ms: positive where the prediction is too hopeful."""
        return 100 * (self.predicted.within[LIMITS_MS[0]] - self.real.within[LIMITS_MS[0]])

    @property
    def holds(self) -> bool:
        return max(map(abs, self.off)) <= MOST_OFF and abs(self.points) <= MOST_POINTS


def main() -> int:
    """Run and compare; the exit status is 1 where a prediction does not hold."""
    parser = _parser()
    options = parser.parse_args()
    if options.again is not None:
        measurement, runs = read_runs(options.again)
    else:
        if options.pictures is None:
            parser.error("give --pictures FOLDER, with photographs such as callers send, or --again FILE")
        measurement, runs = run_all(options)
        kept = RESULTS.with_name(f"planned-{time.strftime('%Y-%m-%d-%H%M%S')}.json")
        write_runs(kept, measurement, runs)
        say(f"Kept in {kept}")
    compared = [compare(measurement, run) for run in runs]
    report = "\n".join(report_lines(measurement, compared))
    say(report)
    if options.write:
        PAGE.write_text(with_section(PAGE.read_text(encoding="utf-8"), report), encoding="utf-8")
    return 0 if all(each.holds for each in compared) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.planned", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", metavar="FOLDER", type=folder, help="photographs such as callers send")
    parser.add_argument("--archive", metavar="FILE", type=file, help="what the pod serves (default: as marserve serve)")
    parser.add_argument("--traces", metavar="FILE", nargs="*", default=[], help="recorded arrivals besides")
    parser.add_argument("--loads", nargs="+", type=positive, default=LOADS, help=f"of the capacity (default: {LOADS})")
    parser.add_argument("--seconds", type=positive, default=SECONDS, help=f"of each load (default: {SECONDS:g})")
    parser.add_argument("--measurement", metavar="FILE", type=file, help="one made before, instead of a new one")
    parser.add_argument("--again", metavar="FILE", type=file, help="compare what an earlier run has kept")
    parser.add_argument("--write", action="store_true", help=f"write the table into {PAGE.name}")
    return parser


def run_all(options: argparse.Namespace) -> tuple[Measurement, list[CheckedRun]]:
    """A pod of its own, measured, and every load on it."""
    pictures = read_photographs(options.pictures).pictures
    processes = [arrival_process(name) for name in (*ARRIVALS, *options.traces)]
    with own_pod(options.archive, 1) as (port, cold_start_s):
        service = LoadedService(service_of(port), pictures)
        if options.measurement is not None:
            measurement = Measurement.read(options.measurement)
        else:
            facts = facts_of(port, service.address, cold_start_s)
            measurement = measure(service, facts, f"{len(pictures)} photographs")
        say("\n".join(describe(measurement)))
        with service.prepared():
            runs = [
                run_one(service, process, load, measurement.capacity.per_s, options.seconds)
                for process, load in product(processes, options.loads)
            ]
    return measurement, runs


def run_one(
    service: LoadedService, process: ArrivalProcess, load: float, capacity: float, seconds: float
) -> CheckedRun:
    per_s = load * capacity
    due = process.times(int(per_s * seconds), per_s, SEED)
    before = service.generator_cpu_s
    done = service.send(due)
    took = [
        answered - at if status == 200 else None
        for at, answered, status in zip(done.due, done.answered, done.status, strict=True)
    ]
    run = CheckedRun(
        process.name, load, per_s, due, took, done.lag_p99_ms, service.generator_cpu_s - before, list(done.kept)
    )
    real = Waits.of(took)
    say(
        f"  {process.name} {load}: p50 {real.p50_ms:.1f} ms, p99 {real.p99_ms:.0f} ms, {real.within[100]:.1%} in 100 ms"
    )
    return run


def compare(measurement: Measurement, run: CheckedRun) -> Comparison:
    # Of all chances and not of one.
    predicted = [
        took
        for seed in range(SEED, SEED + PREDICTIONS)
        for took in simulate_pod(measurement, run.due, seed=seed, with_generator=True)
    ]
    return Comparison(run, Waits.of(run.took), Waits.of(predicted))


def report_lines(measurement: Measurement, compared: Sequence[Comparison]) -> Iterator[str]:
    """The section of the docs: what was run, and the table."""
    machine, model, capacity = measurement.machine, measurement.model, measurement.capacity
    where = "another machine" if machine is None else f"{machine.processor}, {machine.cores} cores"
    held = sum(each.holds for each in compared)
    pictures, noise = measurement.pictures, measurement.noise
    least, most = min(capacity.rounds_per_s), max(capacity.rounds_per_s)
    yield (
        f"`python -m bench.planned --pictures photographs --traces ...`, {measurement.measured_at[:10]}: one pod (web "
        f"service, TorchServe, {measurement.pod.workers} worker) with {model.name} in {model.precision}, {where}, the "
        f"load generator on the same cores; {pictures.count} photographs of {pictures.mean_bytes / 1e3:.0f} kB, none "
        f"of them in the cache; capacity {capacity.per_s:.0f}/s ({least:.0f} to {most:.0f} from round to round)."
    )
    late_ms = max(each.run.lag_p99_ms for each in compared)
    yield (
        f"While the pod was measured the hypervisor took {noise.steal_share:.1%} of the cores' time, other processes "
        f"{noise.other_cores:.2f} cores; the generator was at most {late_ms:.1f} ms late (99th percentile)."
    )
    for reason in noise.reasons:
        yield f"**Not to be trusted**: {reason}."
    if late_ms > MOST_LAG_MS:
        yield "**Not to be trusted**: the load generator itself was late."
    yield ""
    head = ["arrivals", "load", "requests", "p50 ms", "predicted", "off", "p99 ms", "predicted", "off",
            "within 100 ms", "predicted", "points", "within 250 ms", "predicted", "holds"]  # fmt: skip
    yield table(head, map(_row, compared))
    yield (
        f"A prediction holds if p50 and p99 are within {MOST_OFF:.0%}, and the share within 100 ms within "
        f"{MOST_POINTS:g} points: {held} of {len(compared)} do."
    )


def _row(each: Comparison) -> list[str]:
    real, predicted = each.real, each.predicted
    off50, off99 = each.off
    near, far = LIMITS_MS
    return [
        each.run.arrivals, f"{each.run.load:g}", f"{len(each.run.due):,}",
        f"{real.p50_ms:.1f}", f"{predicted.p50_ms:.1f}", f"{off50:+.0%}",
        f"{real.p99_ms:.0f}", f"{predicted.p99_ms:.0f}", f"{off99:+.0%}",
        f"{real.within[near]:.1%}", f"{predicted.within[near]:.1%}", f"{each.points:+.1f}",
        f"{real.within[far]:.1%}", f"{predicted.within[far]:.1%}", "yes" if each.holds else "**no**",
    ]  # fmt: skip


def with_section(page: str, content: str) -> str:
    """``page`` with ``content`` between its markers. Raises ValueError where it has none."""
    before, found, rest = page.partition(BEGIN)
    _, closed, after = rest.partition(END)
    if not (found and closed):
        raise ValueError(f"the page lacks the markers {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{content}\n{END}{after}"


def write_runs(file: Path, measurement: Measurement, runs: Sequence[CheckedRun]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    content = {"measurement": measurement.model_dump(mode="json"), "runs": [asdict(run) for run in runs]}
    file.write_text(json.dumps(content), encoding="utf-8")


def read_runs(file: Path) -> tuple[Measurement, list[CheckedRun]]:
    content = json.loads(file.read_text(encoding="utf-8"))
    return Measurement.model_validate(content["measurement"]), [CheckedRun(**run) for run in content["runs"]]


if __name__ == "__main__":
    sys.exit(run_command(main))
