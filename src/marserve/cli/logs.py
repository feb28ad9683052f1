"""The logs of all services of a stack, merged by time.

TorchServe's log, what the workers print, and the web service's log, without TorchServe's access log. The logs remain
when the stack has stopped.
"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from marserve.arguments import whole
from marserve.cli.operating import add_common, web_port
from marserve.errors import MarserveError, StopRequestedError
from marserve.stack.run_directory import RunDirectory
from marserve.terminal import say

if TYPE_CHECKING:
    from collections.abc import Iterable

    from marserve.torchserve.log_lines import LogLine

NEEDS = "serve"
EPILOG = """examples:
  marserve logs --errors --follow

exit status: 0 shown; 1 there are no logs; 2 wrong arguments"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--follow", action="store_true", help="keep showing new lines until Ctrl-C")
    parser.add_argument("--errors", action="store_true", help="only warnings, errors and tracebacks")
    parser.add_argument(
        "--lines", type=whole(0, 1_000_000), default=50, metavar="N", help="the last N lines (default: 50)"
    )
    add_common(parser)


def check(options: argparse.Namespace) -> None:
    """Before set-up: whether there are any."""
    logs = RunDirectory(web_port(options)).logs
    if not logs.is_dir():
        raise MarserveError(f"{logs} does not exist: nothing was started on web port {web_port(options)} yet.")


def run(options: argparse.Namespace) -> int:
    from marserve.torchserve.log_lines import Follower, merged

    logs = RunDirectory(web_port(options)).logs
    follower = Follower(logs)
    lines = [line for line in merged(logs) if line.is_error or not options.errors]
    try:
        _print(lines[len(lines) - min(options.lines, len(lines)) :], options)
        if options.follow:
            _print((line for line in follower.follow() if line.is_error or not options.errors), options)
    except StopRequestedError:
        pass
    return 0


def _print(lines: Iterable[LogLine], options: argparse.Namespace) -> None:
    for line in lines:
        say(json.dumps(line.as_json()) if options.json else _render(line))


def _render(line: LogLine) -> str:
    time = line.time.astimezone().strftime("%H:%M:%S.%f")[:-3]
    return f"{time} {line.source:<9} {line.level:<7} {line.origin}  {line.text}"
