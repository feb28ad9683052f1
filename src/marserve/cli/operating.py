"""What the commands on a running stack have in common: which stack, who confirms, and what is printed."""

from __future__ import annotations

import argparse
import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marserve.arguments import add_port
from marserve.paths import EXAMPLE_PICTURE
from marserve.stack.ports import Ports
from marserve.terminal import complain, say

if TYPE_CHECKING:
    from marserve.manage.change import Change

#: Beyond all sense, and below what TorchServe's socket names allow.
MOST_WORKERS = 999
#: For commands that change a stack.
EXIT_STATUS = (
    "exit status: 0 done; 1 it failed, and what was begun is undone; 2 wrong arguments, or a step that needs --yes. "
    "Steps that are hard to undo need confirmation."
)


def add_common(parser: argparse.ArgumentParser, *, changes: bool = False) -> None:
    """``--port``, ``--json`` and, for a command that changes the stack, ``--yes``."""
    add_port(parser)
    parser.add_argument("--json", action="store_true", help="print JSON; progress goes to standard error")
    if changes:
        parser.add_argument("--yes", action="store_true", help="do not ask before steps that are hard to undo")


def add_pictures(parser: argparse.ArgumentParser, purpose: str) -> None:
    """Pictures that a new version is tried with."""
    parser.add_argument(
        "--pictures", nargs="+", default=[str(EXAMPLE_PICTURE)], metavar="PICTURE",
        help=f"files, folders or patterns {purpose} (default: examples/cat.jpg)",
    )  # fmt: skip


def web_port(options: argparse.Namespace) -> int:
    """The stack that is meant. Raises MarserveError for a variable that is no port."""
    return options.port or Ports.from_environment().web_port


def begin(options: argparse.Namespace) -> AbstractContextManager[Change]:
    """A change to the stack that is meant; its lock is taken by ``with``. Raises MarserveError where no stack runs."""
    from marserve.manage.change import always_yes, confirm_on_terminal
    from marserve.manage.running_stack import RunningStack
    from marserve.manage.settling import changing

    stack = RunningStack.find(web_port(options))
    confirm = always_yes if options.yes else confirm_on_terminal
    return changing(stack, confirm=confirm, report=complain if options.json else say)


def pictures(options: argparse.Namespace) -> list[Path]:
    from marserve.handler.resnet18.heif import find_decoder
    from marserve.pictures import describe_skipped, find_pictures

    found = find_pictures(options.pictures, heic=find_decoder() is not None)
    if found.skipped:
        complain(describe_skipped(found.skipped))
    return [Path(picture) for picture in found.pictures]


def print_result(options: argparse.Namespace, result: dict[str, Any], text: str) -> int:
    """Say what was done; the exit status is 0."""
    if options.json:
        say(json.dumps(result))
    elif text:
        say(text)
    return 0
