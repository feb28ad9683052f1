"""Make the version before the default again.

The version that was the default before the last deploy gets its workers back, is warmed up and made the default; the
other one keeps one worker, so a second rollback takes the first back. This works after a restart as well.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict

from marserve.cli.operating import EXIT_STATUS, add_common, add_pictures, begin, pictures, print_result

NEEDS = "serve"
EPILOG = EXIT_STATUS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL")
    add_pictures(parser, "to warm it up")
    add_common(parser, changes=True)


def run(options: argparse.Namespace) -> int:
    from marserve.manage.deployment import roll_back

    begun, tried = begin(options), pictures(options)
    with begun as change:
        done = roll_back(change, options.model, tried)
    text = f"{done.model} {done.version} answers again, with {done.workers} workers."
    return print_result(options, asdict(done), text)
