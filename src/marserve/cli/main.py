"""``marserve COMMAND``: finds the command's module and runs it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from marserve.running import run_command
from marserve.variables import prepare_environment

#: Each command's module in this package, and what it does.
COMMANDS = {
    "serve": ("serve", "set up, build the archive, start the stack and wait until it answers"),
    "stop": ("stop", "stop what serve started, and nothing else"),
    "status": ("operate", "models, versions, workers, queues and rates on one screen"),
    "scale": ("operate", "change the number of workers"),
    "deploy": ("operate", "make a new version the default, after checking it"),
    "rollback": ("operate", "make the version before the default again"),
    "drain": ("operate", "take the workers from a version once it is idle"),
    "recover": ("operate", "replace workers that are dead though listed"),
    "logs": ("operate", "the logs of all services, merged by time"),
    "token": ("token", "print a token for TorchServe's own APIs"),
    "build": ("build", "build an archive: weights and labels in, a checked .mar out"),
    "classify": ("classify", "classify pictures: files, folders and patterns"),
    "setup": ("setup", "in a clone: install the packages of one group into .venv"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; answers the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        print("usage: marserve COMMAND ...\n")
        for name, (_, summary) in COMMANDS.items():
            print(f"  {name:<10}{summary}")
        return 0 if given else 2
    if given[0] not in COMMANDS:
        print(f"marserve: there is no command {given[0]!r}; there are: {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    prepare_environment()
    module = importlib.import_module(f"marserve.cli.{COMMANDS[given[0]][0]}")
    return run_command(lambda: int(module.main(given[0], given[1:])))
