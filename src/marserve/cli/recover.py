"""Replace dead workers that TorchServe still lists.

TorchServe stops restarting a worker that fails for too long, but keeps it on its list, so that scaling to the same
number does nothing. This takes the worker off the list and starts a new one. Workers before it on the list keep
running. If the first one is dead and others run, all must be restarted, which needs your confirmation.

Like every command that changes the stack, it first undoes or finishes what an earlier one left that was killed.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict

from marserve.cli.operating import EXIT_STATUS, add_common, begin, print_result

NEEDS = "serve"
EPILOG = EXIT_STATUS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_common(parser, changes=True)


def run(options: argparse.Namespace) -> int:
    from marserve.manage.scaling import recover

    with begin(options) as change:
        done = recover(change)
    return print_result(options, {"recovered": [asdict(one) for one in done]}, "")
