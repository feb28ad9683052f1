"""Whether the service holds when things go wrong: experiments on real processes, each a table in the documentation.

An experiment is a module of this folder with ROWS, its rows by name: functions that do something and answer a Row, or
raise CannotRunHereError. It may have a context manager ``stage(options)``, whose value each of its rows is given, and
``add_arguments(parser)`` for options of its own, and PAGE where its table is not in docs/reliability.md. Where the
stage's value has ``clear()``, a row that does not hold is followed by it, so that the next one finds a stack that is
well.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from marserve.handler.resnet18.cpu import usable_cores
from marserve.plan.machine import processor
from marserve.system.processes import raise_on_stop_signals
from marserve.terminal import say
from tests.reliability.table import MOST_TOLD, PAGE, CannotRunHereError, Row, write

#: What can be run, in the order of the page; a module is written with underscores.
EXPERIMENTS = ("faults", "hostile", "long-run", "deployments", "canaries", "several-hosts")


class Experiment:
    """A module of this folder, or another one, by what it must and what it may have."""

    def __init__(self, name: str, module_name: str | None = None) -> None:
        module = importlib.import_module(module_name or f"tests.reliability.{name.replace('-', '_')}")
        self.name = name
        self.about: str = module.__doc__ or ""
        self.rows: Mapping[str, Callable[[Any], Row]] = module.ROWS
        self.add_arguments: Callable[[argparse.ArgumentParser], object] = getattr(
            module, "add_arguments", lambda _: None
        )
        self.page: Path = getattr(module, "PAGE", PAGE)
        self.stage: Callable[[argparse.Namespace], AbstractContextManager[Any]] = getattr(module, "stage", nullcontext)


def measured() -> str:
    """When and where a row was run, and how busy the machine was."""
    cores = usable_cores()
    name = processor(Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    today = datetime.datetime.now(tz=datetime.timezone.utc).date()
    return f"{today}, {name}, {cores} cores, load {os.getloadavg()[0] / cores:.1f} a core"


def run(experiment: Experiment, options: argparse.Namespace) -> bool:
    """Whether all chosen rows of ``experiment`` hold."""
    chosen: list[str] = options.only or list(experiment.rows)
    broken: list[str] = []
    say(f"{experiment.name}: getting ready ...")
    with experiment.stage(options) as stage:
        for number, key in enumerate(chosen, 1):
            say(f"[{number}/{len(chosen)}] {key} ...")
            began, at = time.monotonic(), measured()
            try:
                row = experiment.rows[key](stage)
            except CannotRunHereError as exc:
                say(f"  left out: {exc}")
                continue
            except Exception as exc:  # noqa: BLE001 - a row that breaks is a finding, and the others are to be tried
                traceback.print_exc()
                row = Row(key, f"the row itself broke: {exc!r}"[:MOST_TOLD], None, "unknown", holds=False)
            line = row.cells(key, at)
            say(f"  {line}\n  {time.monotonic() - began:.0f} s")
            if options.write:
                write(experiment.name, {key: line}, list(experiment.rows), experiment.page)
            if not row.holds:
                broken.append(key)
                try:
                    getattr(stage, "clear", lambda: None)()
                except Exception:  # noqa: BLE001 - what a broken stack's end complains of is told, and no more
                    traceback.print_exc()
    say(f"{experiment.name}: " + (f"BROKEN: {', '.join(broken)}" if broken else "all rows hold"))
    return not broken


def command_line() -> argparse.ArgumentParser:
    """What the command takes, one subcommand for each experiment."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.reliability",
        description=__doc__.splitlines()[0],
        epilog="Exit status 0 if every row holds, 1 if one does not. EXPERIMENT --help says how long it takes and "
        "lists its rows.",
    )
    choices = parser.add_subparsers(metavar="EXPERIMENT", required=True)
    for name in EXPERIMENTS:
        if find_spec(f"tests.reliability.{name.replace('-', '_')}") is None:
            continue
        experiment = Experiment(name)
        choice = choices.add_parser(
            name,
            # argparse fills in "%(prog)s" and the like; "80 % of capacity" is none of these.
            help=experiment.about.splitlines()[0].replace("%", "%%"),
            description=experiment.about,
            epilog=f"rows: {' '.join(experiment.rows)}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        add_options(choice, experiment)
    return parser


def add_options(parser: argparse.ArgumentParser, experiment: Experiment) -> None:
    """What each experiment takes, and its own."""
    parser.add_argument("--only", nargs="+", choices=experiment.rows, metavar="ROW", help="these rows (default: all)")
    parser.add_argument(
        "--write", action="store_true", help=f"write what was seen into {experiment.page.name}, row by row"
    )
    experiment.add_arguments(parser)
    parser.set_defaults(experiment=experiment)


def main() -> int:
    options = command_line().parse_args()
    raise_on_stop_signals()  # what was started is ended
    return 0 if run(options.experiment, options) else 1


if __name__ == "__main__":
    sys.exit(main())
