"""``marserve status``, ``scale``, ``deploy``, ``rollback``, ``drain``, ``recover`` and ``logs``."""

from __future__ import annotations

from collections.abc import Sequence

from marserve.setup.environment import continue_in_environment


def main(command: str, arguments: Sequence[str]) -> int:
    """Run one of them."""
    from marserve.manage.options import parse

    options = parse([command, *arguments])
    continue_in_environment("serve", command, arguments)
    from marserve.manage.commands import run

    return run(options)
