"""``scripts/stop``."""

from __future__ import annotations

import argparse
import sys

from stack.commands import run_command
from stack.environment import continue_in
from stack.errors import StackError
from stack.paths import VENV
from stack.ports import Ports
from stack.run_directory import RunDirectory
from stack.terminal import say


def main() -> int:
    """Stop the stack of WEB_PORT; that there is none is no error."""
    argparse.ArgumentParser(
        prog="./scripts/stop",
        description="Stop what ./scripts/serve started, and nothing else. Which stack: environment variable WEB_PORT "
        "(default 5000).",
    ).parse_args()
    web_port = Ports.from_environment().web_port
    run_directory = RunDirectory(web_port)
    ended: list[str] = []
    if run_directory.state.exists():
        python = VENV / "bin" / "python"
        if not python.exists():
            raise StackError(
                f"{run_directory.state} speaks of a running stack, but {VENV} is gone: run ./scripts/serve."
            )
        continue_in(python, "stop", [])
        from stack.lifecycle import stop

        ended = stop(run_directory)
    for name in ended:
        say(f"Stopped {name}.")
    if not ended:
        say(f"Nothing is running on WEB_PORT {web_port}.")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
