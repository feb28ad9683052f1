"""``scripts/serve``."""

from __future__ import annotations

import sys

from stack.commands import run_command
from stack.environment import continue_in, ensure
from stack.options import parse_options
from stack.ports import Ports


def main() -> int:
    """Check what was asked for, set up, and go on in the environment that has what the rest needs."""
    options = parse_options(sys.argv[1:])
    ports = Ports.from_environment()
    continue_in(ensure("serve"), "serve", sys.argv[1:])
    from stack.lifecycle import serve

    return serve(options, ports)


if __name__ == "__main__":
    sys.exit(run_command(main))
