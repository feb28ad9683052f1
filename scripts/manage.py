#!/usr/bin/env python3
"""Operate a stack that ./scripts/serve has started."""

from __future__ import annotations

import sys

import _bootstrap  # noqa: F401  (finds the project's packages and its environment)


def main() -> int:
    from operate.commands import run
    from operate.options import parse
    from stack.commands import run_command

    options = parse()
    return run_command(lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
