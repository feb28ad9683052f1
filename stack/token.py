"""``scripts/token``."""

from __future__ import annotations

import argparse
import os
import sys

from stack.commands import run_command
from stack.errors import StackError
from stack.ports import Ports
from stack.run_directory import RunDirectory
from stack.state import ProcessRecord, State
from stack.tokens import current_token


def main() -> int:
    """Print a token that is valid for some minutes at least."""
    parser = argparse.ArgumentParser(
        prog="./scripts/token",
        description="Print a valid token of the running stack, renewing it if it is about to expire: for the header "
        "'Authorization: Bearer TOKEN'. Which stack: environment variable WEB_PORT (default 5000).",
    )
    parser.add_argument("kind", nargs="?", choices=["inference", "management"], default="inference")
    kind = parser.parse_args().kind
    web_port = Ports.from_environment().web_port
    run_directory = RunDirectory(web_port)
    state = State.read(run_directory.state)
    if state is None or not (state.processes and all(map(_exists, state.processes))):
        raise StackError(f"Nothing is running on WEB_PORT {web_port}: start it with ./scripts/serve.")
    print(current_token(run_directory, state.ports.management_port, kind))
    return 0


def _exists(process: ProcessRecord) -> bool:
    # Quick rather than certain: this runs before every curl. A stale key file's token is refused by whoever listens.
    try:
        os.kill(process.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


if __name__ == "__main__":
    sys.exit(run_command(main))
