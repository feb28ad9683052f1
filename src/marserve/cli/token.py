"""Print a valid token of the running stack, renewing it if it is about to expire.

It is for the header 'Authorization: Bearer TOKEN' of requests to TorchServe itself.
"""

from __future__ import annotations

import argparse
import os

from marserve.arguments import add_port
from marserve.cli.operating import web_port

NEEDS = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "kind", nargs="?", choices=["inference", "management"], default="inference",
        help="which of TorchServe's APIs (default: inference)",
    )  # fmt: skip
    add_port(parser)


def run(options: argparse.Namespace) -> int:
    from marserve.stack.run_directory import NotRunningError, RestartingError, RunDirectory, State
    from marserve.torchserve.key_file import valid_token

    number = web_port(options)
    run_directory = RunDirectory(number)
    state = State.read(run_directory.state)
    if state is None:
        raise NotRunningError(number)
    # TorchServe is the first one that is started.
    if not (state.processes and _exists(state.processes[0].pid)):
        raise RestartingError(number, ["TorchServe"]) if _exists(state.serve.pid) else NotRunningError(number)
    print(valid_token(run_directory.key_file, state.ports.management_port, options.kind).key)
    return 0


def _exists(pid: int) -> bool:
    # Quick rather than certain: this runs before every curl. A stale key file's token is refused by whoever listens.
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
