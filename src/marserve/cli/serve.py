"""``marserve serve``."""

from __future__ import annotations

from collections.abc import Sequence

from marserve.setup.environment import continue_in_environment
from marserve.stack.options import parse_options
from marserve.stack.ports import Ports


def main(command: str, arguments: Sequence[str]) -> int:
    """Check what was asked for, set up, and go on in the environment that has what the rest needs."""
    options = parse_options(arguments)
    ports = Ports.from_environment()
    continue_in_environment("serve", command, arguments)
    from marserve.stack.lifecycle import serve

    return serve(options, ports)
