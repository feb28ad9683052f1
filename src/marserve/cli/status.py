"""Models, versions, workers, queues and rates of a running stack on one screen.

The default version of each model has a *. WAIT is the mean time in the queue; MEMORY counts pages that workers share
in part (PSS). A worker is DEAD if TorchServe lists it and its process has ended for good. What the supervisor started
again is counted, with the reason of the last time.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import nullcontext

from marserve.arguments import real
from marserve.cli.operating import add_common, web_port
from marserve.errors import StopRequestedError
from marserve.terminal import say

NEEDS = "serve"
EPILOG = """examples:
  marserve status --watch
      again and again; Ctrl-C ends it

exit status: 0 all is well; 1 there are problems, or nothing is running; 2 wrong arguments"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--watch", action="store_true", help="show it again and again until Ctrl-C")
    parser.add_argument(
        "--interval", type=real(0.1, 3600), default=1.0, metavar="S",
        help="seconds that rates are taken over (default: 1)",
    )  # fmt: skip
    add_common(parser)


def run(options: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from marserve.manage.reading import read_status, sample_metrics
    from marserve.manage.running_stack import RunningStack
    from marserve.manage.status import render_status

    stack = RunningStack.find(web_port(options), complete=False)
    watches = options.watch and sys.stdout.isatty() and not options.json
    screen = Live(console=Console(), auto_refresh=False) if watches else None
    with stack.management() as management, screen or nullcontext():
        before = sample_metrics(stack)
        while True:
            try:
                time.sleep(options.interval)
            except StopRequestedError:
                if options.watch:
                    return 0
                raise
            stack = RunningStack.find(web_port(options), complete=False)  # what was started again has other processes
            after = sample_metrics(stack)
            status = read_status(stack, management, before, after)
            shown = json.dumps(status.as_json()) if options.json else render_status(status)
            if screen is not None:
                screen.update(Text.from_ansi(shown), refresh=True)
            else:
                say(shown)
            if not options.watch:
                return 1 if status.problems else 0
            before = after
