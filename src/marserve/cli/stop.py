"""``marserve stop``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from marserve.setup.environment import continue_in_environment
from marserve.stack.ports import Ports
from marserve.stack.run_directory import RunDirectory
from marserve.terminal import say


def main(command: str, arguments: Sequence[str]) -> int:
    """Stop the stack of MARSERVE_WEB_PORT; that there is none is no error."""
    argparse.ArgumentParser(
        prog="marserve stop",
        description="Stop what ./scripts/serve started, and nothing else. Which stack: environment variable "
        "MARSERVE_WEB_PORT (default 5000).",
    ).parse_args(arguments)
    web_port = Ports.from_environment().web_port
    run_directory = RunDirectory(web_port)
    ended: list[str] = []
    if run_directory.state.exists():
        continue_in_environment("serve", command, arguments)
        from marserve.stack.lifecycle import stop

        ended = stop(run_directory)
    for name in ended:
        say(f"Stopped {name}.")
    if not ended:
        say(f"Nothing is running on web port {web_port}.")
    return 0
