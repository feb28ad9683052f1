"""In a clone: install the packages of one group into .venv, and print the environment's Python."""

from __future__ import annotations

import argparse

from marserve.setup.environment import GROUPS, ensure

NEEDS = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("group", choices=sorted(GROUPS))


def run(options: argparse.Namespace) -> int:
    print(ensure(options.group))
    return 0
