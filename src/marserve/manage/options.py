"""The command line of ``scripts/manage.py``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from marserve.manage import texts
from marserve.paths import EXAMPLE_PICTURE
from marserve.stack.ports import Ports

#: Beyond all sense, and below what TorchServe's socket names allow.
MOST_WORKERS = 999


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; wrong arguments end the process with status 2."""
    parser = argparse.ArgumentParser(
        prog="marserve",
        description="Operate a stack that ./scripts/serve has started: look at it, scale it, deploy new versions, and "
        "bring dead workers back. No accepted request is lost on the way.",
        epilog=texts.EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    status = _add(commands, "status", "models, versions, workers, queues and rates on one screen", texts.STATUS)
    status.add_argument("--watch", action="store_true", help="show it again and again until Ctrl-C")
    status.add_argument(
        "--interval", type=_seconds, default=1.0, metavar="S", help="seconds that rates are taken over (default: 1)"
    )

    scale = _add(commands, "scale", "change the number of workers", texts.SCALE, changes=True)
    scale.add_argument("model")
    scale.add_argument("--workers", type=_workers, required=True, metavar="N")
    scale.add_argument("--version", metavar="V", help="of this version (default: the default one)")
    scale.add_argument("--force", action="store_true", help="even if cores or memory do not suffice")

    deploy = _add(commands, "deploy", "make a new version the default, after checking it", texts.DEPLOY, changes=True)
    deploy.add_argument("model")
    deploy.add_argument(
        "--archive", type=Path, required=True, metavar="FILE", help="a .mar whose version is not served yet"
    )
    _add_pictures(deploy, "to warm it up and to compare with")
    deploy.add_argument(
        "--min-agreement", type=_share, default=0.9, metavar="SHARE",
        help="share of the pictures on which both versions must have the same top class, 0 to 1 (default: 0.9)",
    )  # fmt: skip
    deploy.add_argument("--no-compare", action="store_true", help="other answers and labels are what is wanted")
    deploy.add_argument(
        "--workers", type=_workers, metavar="N", help="workers of the new version (default: as many as the old one has)"
    )
    deploy.add_argument(
        "--remove-old", action="store_true", help="do not keep the old version, so that there is no rollback"
    )
    deploy.add_argument("--force", action="store_true", help="even if memory does not suffice")

    rollback = _add(commands, "rollback", "make the version before the default again", texts.ROLLBACK, changes=True)
    rollback.add_argument("model")
    _add_pictures(rollback, "to warm it up")

    drain = _add(commands, "drain", "take the workers from a version once it is idle", texts.DRAIN, changes=True)
    drain.add_argument("model", metavar="MODEL[/VERSION]")
    drain.add_argument("--timeout", type=_seconds, default=60.0, metavar="S", help="to become idle in (default: 60)")

    _add(commands, "recover", "replace workers that are dead though listed", texts.RECOVER, changes=True)

    logs = _add(commands, "logs", "the logs of all services, merged by time", texts.LOGS)
    logs.add_argument("--follow", action="store_true", help="go on with what is written until Ctrl-C")
    logs.add_argument("--errors", action="store_true", help="only warnings, errors and tracebacks")
    logs.add_argument("--lines", type=_lines, default=50, metavar="N", help="the last N lines (default: 50)")
    return parser.parse_args(arguments)


def _add(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    summary: str,
    description: str,
    *,
    changes: bool = False,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name, help=summary, description=f"{summary[0].upper()}{summary[1:]}. {' '.join(description.split())}",
        allow_abbrev=False,
    )  # fmt: skip
    parser.add_argument(
        "--port", type=_port, default=_default_port(), metavar="PORT",
        help="the stack, by its web port (default: environment variable MARSERVE_WEB_PORT, else 5000)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON; steps are told on standard error")
    if changes:
        parser.add_argument("--yes", action="store_true", help="agree to everything that would be asked")
    return parser


def _add_pictures(parser: argparse.ArgumentParser, purpose: str) -> None:
    parser.add_argument(
        "--pictures", nargs="+", default=[str(EXAMPLE_PICTURE)], metavar="PICTURE",
        help=f"files, folders or patterns {purpose} (default: examples/cat.jpg)",
    )  # fmt: skip


def _default_port() -> str:
    return os.environ.get("MARSERVE_WEB_PORT", str(Ports.web_port))


def _port(text: str) -> int:
    return _number(text, 1, 65535)


def _workers(text: str) -> int:
    return _number(text, 0, MOST_WORKERS)


def _lines(text: str) -> int:
    return _number(text, 0, 1_000_000)


def _number(text: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdecimal() and least <= int(text) <= most):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from {least} to {most}")
    return int(text)


def _seconds(text: str) -> float:
    return _real(text, 0.1, 3600)


def _share(text: str) -> float:
    return _real(text, 0, 1)


def _real(text: str, least: float, most: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from {least:g} to {most:g}")
    return value
