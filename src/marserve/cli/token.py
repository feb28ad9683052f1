"""``marserve token``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from marserve.errors import MarserveError
from marserve.stack.ports import Ports
from marserve.stack.run_directory import RunDirectory
from marserve.stack.state import ProcessRecord, State
from marserve.torchserve.key_file import KeyFile


def main(_command: str, arguments: Sequence[str]) -> int:
    """Print a token that is valid for some minutes at least."""
    parser = argparse.ArgumentParser(
        prog="marserve token",
        description="Print a valid token of the running stack, renewing it if it is about to expire: for the header "
        "'Authorization: Bearer TOKEN'. Which stack: environment variable MARSERVE_WEB_PORT (default 5000).",
    )
    parser.add_argument("kind", nargs="?", choices=["inference", "management"], default="inference")
    kind = parser.parse_args(arguments).kind
    web_port = Ports.from_environment().web_port
    run_directory = RunDirectory(web_port)
    state = State.read(run_directory.state)
    if state is None or not (state.processes and all(map(_exists, state.processes))):
        raise MarserveError(f"Nothing is running on web port {web_port}: start it with ./scripts/serve.")
    print(KeyFile(run_directory.key_file, state.ports.management_port).token(kind).key)
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
