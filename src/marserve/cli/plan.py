"""How many pods some traffic takes, what they cost, and how many answers come in time: by simulation of one that was
measured.

"marserve plan measure" measures one pod in two minutes, and writes what "marserve plan" reads. docs/planning.md says
what is simulated, and shows it beside real runs.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from marserve.arguments import UsageError, file, real, whole
from marserve.cli import measuring
from marserve.errors import MarserveError
from marserve.paths import command
from marserve.terminal import complain, say

if TYPE_CHECKING:
    from marserve.plan.arrivals import ArrivalProcess
    from marserve.plan.day import Demand
    from marserve.plan.hpa import HpaRules
    from marserve.plan.pod_spec import PodSpec
    from marserve.plan.report import PlanReport

NEEDS = "plan"
EPILOG = f"""examples:
  marserve plan measure --pictures photographs
      one pod of its own on this machine, in two minutes, into {measuring.MEASUREMENT}
  marserve plan --per-day 10000000
      pods for 10 million a day, whose busiest hour has twice the mean
  marserve plan --per-second 400 --peak 3 --burstiness 4 --limit-ms 100 --share 95
      in bursts, and 95 % within 100 ms
  marserve plan --trace arrivals.csv --core-hour 0.04 --plot plan.png
      recorded traffic, what it costs, and a picture of it
  marserve plan --per-day 1000000 --table --json
      also for 10^6 to 10^9 pictures a day, for programs

each number says where it is from: measured (on a machine), simulated (with as many pods), extrapolated (a cell of eight
  pods multiplied, a day put together from loads, or a pod other than the one measured), given (your word, or a default)

a trace: a CSV file with the column time (seconds, or ISO 8601) and perhaps requests (how many came from then to the
  next row), a .txt file with one time a line, or the web service's log, .run/<web port>/logs/web.log

exit status: 0 planned; 1 it failed, or no number of pods reaches the goal; 2 wrong arguments or no measurement"""

LIMITS_MS = (100.0, 250.0)
#: Seconds from a pod that is wanted to its start, on a node that has the image; and of a start that was not measured.
SCHEDULE_S, START_S = 5.0, 10.0
BALANCES = ("least", "round-robin", "random")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", choices=["measure"], help="measure one pod instead")
    parser.add_argument(
        "--measurement", metavar="FILE", type=file,
        help=f"what measure wrote (default: {measuring.MEASUREMENT})",
    )  # fmt: skip
    parser.add_argument("--seed", metavar="N", type=whole(0, 2**31), default=18, help="of all chance (default: 18)")
    traffic = parser.add_argument_group("traffic")
    rate = traffic.add_mutually_exclusive_group()
    rate.add_argument("--per-second", metavar="N", type=real(0.001, 1e7), help="pictures a second, over a day")
    rate.add_argument("--per-day", metavar="N", type=real(1, 1e12), help="pictures a day")
    traffic.add_argument(
        "--peak", metavar="FACTOR", type=real(1, 12), default=2.0,
        help="the busiest hour's rate over the day's mean (default: 2)",
    )  # fmt: skip
    traffic.add_argument(
        "--hourly", metavar="SHARE", nargs=24, type=real(0, 1e9), help="instead: each hour's share, 24 numbers"
    )
    traffic.add_argument(
        "--burstiness", metavar="CV", type=real(0.05, 50), default=1.0,
        help="coefficient of variation of the gaps between pictures: 1 is by chance, 4 comes in bursts (default: 1)",
    )  # fmt: skip
    traffic.add_argument("--trace", metavar="FILE", type=file, help="recorded traffic instead: its gaps, and its rate")
    goal = parser.add_argument_group("goal")
    goal.add_argument(
        "--limit-ms", metavar="MS", type=real(1, 600_000), default=LIMITS_MS[-1],
        help=f"milliseconds in which answers are wanted (default: {LIMITS_MS[-1]:g})",
    )  # fmt: skip
    goal.add_argument(
        "--share", metavar="PERCENT", type=real(1, 99.99), default=99.0, help="of all requests (default: 99)"
    )
    goal.add_argument(
        "--deadline-ms", metavar="MS", type=real(1, 600_000),
        help="what callers send as X-Request-Timeout-Ms: what would be later is refused at once (default: they do not)",
    )  # fmt: skip
    pods = parser.add_argument_group("pods")
    pods.add_argument("--pods", metavar="N", type=whole(1, 100_000), help="so many, instead of searching")
    pods.add_argument("--pod-workers", metavar="N", type=whole(1, 256), help="workers of each (default: as measured)")
    pods.add_argument("--pod-cores", metavar="N", type=real(0.1, 1024), help="cores of each (default: as measured)")
    pods.add_argument(
        "--balance", choices=BALANCES, default="least",
        help="how the load balancer chooses: fewest connections, by turns, or by chance as kube-proxy (default: least)",
    )  # fmt: skip
    pods.add_argument(
        "--cold-start", metavar="SECONDS", type=real(0, 3600),
        help=f"from a pod that is wanted to one that answers (default: as measured, and {SCHEDULE_S:g} to schedule it)",
    )  # fmt: skip
    pods.add_argument(
        "--hpa",
        metavar="MIN..MAX",
        help="the autoscaler's bounds (default: a quarter of the pods to what a crowd needs)",
    )
    pods.add_argument(
        "--hpa-target", metavar="N", type=real(0.1, 10_000), default=8.0,
        help="requests in flight for which it wants one pod: autoscaling.inFlightPerPod (default: 8)",
    )  # fmt: skip
    cost = pods.add_mutually_exclusive_group()
    cost.add_argument("--core-hour", metavar="PRICE", type=real(0, 1e6), help="of one core, in your money")
    cost.add_argument("--pod-hour", metavar="PRICE", type=real(0, 1e6), help="of one pod")
    more = parser.add_argument_group("what else")
    more.add_argument("--zones", metavar="N", type=whole(2, 8), default=3, help="of which one is lost (default: 3)")
    more.add_argument(
        "--crowd", metavar="FACTOR", type=real(1, 100), default=3.0,
        help="a flash crowd's rate over the busiest hour's (default: 3)",
    )  # fmt: skip
    more.add_argument("--table", action="store_true", help="also for 10^6, 10^7, 10^8 and 10^9 pictures a day")
    more.add_argument("--plot", metavar="FILE", type=Path, help="draw it: .png, .svg or .pdf")
    more.add_argument("--json", action="store_true", help="for programs")
    measuring.add_arguments(parser.add_argument_group("marserve plan measure"))


def check(options: argparse.Namespace) -> None:
    """Before set-up: whether the arguments fit together."""
    if options.action is not None:
        return
    if options.per_second is None and options.per_day is None and options.trace is None:
        raise UsageError("how much comes? Give --per-second, --per-day or --trace; --help has examples")
    if options.hourly is not None and not any(options.hourly):
        raise UsageError("--hourly: 24 times nothing is no traffic")
    if options.plot is not None and options.plot.suffix not in (".png", ".svg", ".pdf"):
        raise UsageError(f"--plot {options.plot}: the name ends with .png, .svg or .pdf")
    if options.measurement is None and not measuring.MEASUREMENT.is_file():
        raise UsageError(
            f"there is no {measuring.MEASUREMENT} here: {command('plan measure')} --pictures FOLDER makes it in two "
            "minutes, on a machine such as your pods have; or name one with --measurement"
        )


def run(options: argparse.Namespace) -> int:
    if options.action is not None:
        return measuring.run(options)
    from marserve.plan.calibration import REQUEST_DEADLINE_S, spec_of
    from marserve.plan.measurement import Measurement
    from marserve.plan.planning import Goal, Setting
    from marserve.plan.report import Price, WhatIfs, make_plan

    measurement = Measurement.read(options.measurement or measuring.MEASUREMENT)
    demand = _demand(options)
    deadline_s = min(REQUEST_DEADLINE_S, (options.deadline_ms or math.inf) / 1e3)
    spec = _pod(spec_of(measurement, workers=options.pod_workers, deadline_s=deadline_s), options)
    goal = Goal(options.limit_ms / 1e3, options.share / 100)
    cold_start_s = options.cold_start
    if cold_start_s is None:
        cold_start_s = SCHEDULE_S + (measurement.pod.cold_start_s or START_S)
    setting = Setting(spec, goal, demand.arrivals, options.balance, options.seed, cold_start_s)
    report = make_plan(
        measurement,
        setting,
        demand,
        limits_s=sorted({*(limit / 1e3 for limit in LIMITS_MS), goal.limit_s}),
        pods=options.pods,
        price=Price(options.core_hour, options.pod_hour),
        what_ifs=WhatIfs(options.zones, options.crowd, _hpa(options), options.table),
    )
    for warning in report.warnings:
        complain(warning)
    if options.json:
        say(json.dumps(report.as_json(), indent=1))
    else:
        for line in report.lines():
            say(line)
    if not report.loads:
        return 1
    if options.plot is not None:
        _plot(report, goal.limit_s, options.plot)
    return 0


def _pod(spec: PodSpec, options: argparse.Namespace) -> PodSpec:
    cores = options.pod_cores or spec.cores
    if math.isinf(cores):
        raise UsageError("what was measured is on another machine: give --pod-cores, the cores of a pod")
    return replace(spec, cores=cores)


def _demand(options: argparse.Namespace) -> Demand:
    """Raises UsageError for a trace that cannot be read."""
    from marserve.plan.arrivals import arrival_process, variation
    from marserve.plan.day import DAY_S, Demand, day_curve

    per_s: float = options.per_second or (options.per_day or 0.0) / DAY_S
    arrivals: ArrivalProcess
    if options.trace is not None:
        try:
            arrivals = arrival_process(str(options.trace))
        except ValueError as exc:
            raise UsageError(f"--trace: {exc}") from exc
        if len(arrivals.recorded) < 2 or not arrivals.recorded[-1]:
            raise UsageError(f"--trace {options.trace}: two requests at two moments are the least")
        own = len(arrivals.recorded) / arrivals.recorded[-1]
        complain(f"{options.trace}: {own:.2f} pictures/s, gaps of a variation of {variation(arrivals.recorded):.1f}")
        # Its own course is in its gaps.
        hourly = day_curve(options.peak if per_s else 1.0)
        per_s = per_s or own
    else:
        arrivals = arrival_process("poisson" if options.burstiness == 1 else f"gamma-{options.burstiness:g}")
        hourly = day_curve(options.peak)
    if options.hourly is not None:
        mean = sum(options.hourly) / 24
        hourly = tuple(share / mean for share in options.hourly)
    return Demand(per_s, hourly, arrivals)


def _hpa(options: argparse.Namespace) -> HpaRules | None:
    """Raises UsageError."""
    from marserve.plan.hpa import HpaRules

    if options.hpa is None:
        return None
    minimum, dots, maximum = options.hpa.partition("..")
    if not (dots and minimum.isdecimal() and maximum.isdecimal()):
        raise UsageError(f"--hpa {options.hpa}: bounds such as 2..20")
    try:
        return HpaRules(int(minimum), int(maximum), target=options.hpa_target)
    except ValueError as exc:
        raise UsageError(f"--hpa {exc}") from exc


def _plot(report: PlanReport, limit_s: float, target: Path) -> None:
    from marserve.plan.plots import draw
    from marserve.system.files import failure_of

    try:
        draw(report, limit_s, target)
    except OSError as exc:
        raise MarserveError(f"--plot: {failure_of(exc)}") from exc
    complain(f"Drawn: {target}")
