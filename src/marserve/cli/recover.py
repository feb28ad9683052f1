"""Replace workers that are dead though listed.

A worker that fails for too long is given up by TorchServe, and stays on its list: scaling to the same number does
nothing. This takes it off and starts a new one. Workers before it on the list go on working; where the first one is
dead and others work, all must be restarted, which has to be confirmed.
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
