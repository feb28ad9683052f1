"""Stop what serve started, and nothing else. It is no error if nothing is running."""

from __future__ import annotations

import argparse

from marserve.arguments import add_port
from marserve.cli.operating import web_port
from marserve.setup.environment import continue_in_environment
from marserve.terminal import say

NEEDS = None
EPILOG = "exit status: 0 nothing runs any more; 1 it failed, and why is on standard error; 2 wrong arguments"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_port(parser)


def run(options: argparse.Namespace) -> int:
    from marserve.stack.run_directory import RunDirectory

    number = web_port(options)
    run_directory = RunDirectory(number)
    ended: list[str] = []
    if run_directory.state.exists():
        continue_in_environment("serve", "stop", ["--port", str(number)])
        from marserve.supervision.serving import stop

        ended = stop(run_directory)
    for name in ended:
        say(f"Stopped {name}.")
    if not ended:
        say(f"Nothing is running on web port {number}.")
    return 0
