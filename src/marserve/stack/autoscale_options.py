"""The options of ``scripts/serve`` that are about autoscaling."""

from __future__ import annotations

import argparse
import re
from typing import Any

from marserve.autoscale.rules import Rules


def add_autoscale_arguments(parser: argparse.ArgumentParser) -> None:
    """Add them to ``parser``."""
    parser.add_argument(
        "--autoscale", metavar="MIN..MAX", type=_range,
        help="adapt the number of workers per model to the requests that come, within these bounds and never past the "
        "cores and the memory (default: the number stays)",
    )  # fmt: skip
    parser.add_argument(
        "--autoscale-target", metavar="MS", type=_number,
        help="milliseconds that requests may wait for a worker on average, before one is added "
        f"(default: {Rules.target_wait_s * 1000:g})",
    )  # fmt: skip
    parser.add_argument(
        "--autoscale-quiet", metavar="S", type=_number,
        help=f"seconds of quiet before a worker is taken away (default: {Rules.down_after_s:g})",
    )  # fmt: skip


def autoscale_rules(parser: argparse.ArgumentParser, given: dict[str, Any]) -> Rules | None:
    """Take the options out of ``given``, as parsed; None where autoscaling is off. Clashes end the process."""
    bounds, target_ms, quiet_s = (given.pop(f"autoscale{name}") for name in ("", "_target", "_quiet"))
    if bounds is None:
        if target_ms is not None or quiet_s is not None:
            parser.error("--autoscale-target and --autoscale-quiet go with --autoscale MIN..MAX")
        return None
    if given.get("workers") is not None:
        parser.error("--autoscale chooses the number of workers: leave --workers out")
    minimum, maximum = bounds
    return Rules(
        minimum,
        maximum,
        target_wait_s=Rules.target_wait_s if target_ms is None else target_ms / 1000,
        down_after_s=Rules.down_after_s if quiet_s is None else quiet_s,
    )


def _range(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d{0,3})\.\.([1-9]\d{0,3})", text)
    if match is None or int(match[1]) > int(match[2]):
        raise argparse.ArgumentTypeError(f"{text!r} is no range of workers such as 1..4")
    return int(match[1]), int(match[2])


def _number(text: str) -> float:
    if not re.fullmatch(r"\d{1,6}(\.\d{1,6})?", text) or float(text) <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return float(text)
