"""Remove the workers of a version once it is idle.

Waits until a version has no request queued or in progress, then stops its workers. If it does not become idle in time,
nothing changes. The default version first hands over to another version that has workers; if there is none, the model
answers 503 from then on.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict

from marserve.arguments import real
from marserve.cli.operating import EXIT_STATUS, add_common, begin, print_result
from marserve.paths import command

NEEDS = "serve"
EPILOG = EXIT_STATUS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL[/VERSION]")
    parser.add_argument(
        "--timeout",
        type=real(0.1, 3600),
        default=60.0,
        metavar="S",
        help="seconds to wait until it is idle (default: 60)",
    )
    add_common(parser, changes=True)


def run(options: argparse.Namespace) -> int:
    from marserve.manage.draining import drain

    model, _, version = options.model.partition("/")
    with begin(options) as change:
        done = drain(change, model, version or None, timeout_s=options.timeout)
    back = command(f"scale {done.model} --version {done.version} --workers {done.workers_before}")
    return print_result(options, asdict(done), f"{done.model} {done.version} has no workers any more. Back: {back}")
