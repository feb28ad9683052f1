"""Make a new version the default, after checking it.

Registers the archive as a new version beside the present one, starts one worker, compares its answers with the
present version's, starts the other workers, warms them up, and makes the new version the default. If any step
fails, or on Ctrl-C, the new version is removed; the old one answers all the time. After success the old version keeps
one worker for rollback, and the version before it is removed.

Needs a stack started with --model-api. What was deployed lasts: the next serve starts it, however this one ends.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict

from marserve.arguments import file, share, whole
from marserve.cli.operating import EXIT_STATUS, MOST_WORKERS, add_common, add_pictures, begin, pictures, print_result
from marserve.paths import command

NEEDS = "serve"
EPILOG = f"""examples:
  marserve build --weights new.pth --version 2.0 --output new
  marserve deploy resnet18 --archive new/resnet18.mar --pictures photographs
      2.0 becomes the default if it answers these pictures as the present version does
  marserve rollback resnet18
      back to the version before

{EXIT_STATUS}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument(
        "--archive", type=file, required=True, metavar="FILE", help="a .mar whose version is not served yet"
    )
    add_pictures(parser, "to warm it up and to compare with")
    parser.add_argument(
        "--min-agreement", type=share, default=0.9, metavar="SHARE",
        help="share of the pictures on which both versions must have the same top class, 0 to 1 (default: 0.9)",
    )  # fmt: skip
    parser.add_argument("--no-compare", action="store_true", help="do not compare: other answers are intended")
    parser.add_argument(
        "--workers", type=whole(1, MOST_WORKERS), metavar="N",
        help="workers of the new version (default: as many as the old one has)",
    )  # fmt: skip
    parser.add_argument(
        "--remove-old", action="store_true", help="do not keep the old version, so that there is no rollback"
    )
    parser.add_argument("--force", action="store_true", help="even if there is not enough memory")
    add_common(parser, changes=True)


def run(options: argparse.Namespace) -> int:
    from marserve.manage.change import confirm_on_terminal
    from marserve.manage.deployment import Plan, archive_version, deploy

    begun = begin(options)
    plan = Plan(
        model=options.model,
        archive=options.archive,
        version=archive_version(options.archive),
        pictures=pictures(options),
        min_agreement=None if options.no_compare else options.min_agreement,
        workers=options.workers,
        remove_old=options.remove_old,
        force=options.force,
    )
    if not options.yes and not sys.stdin.isatty():  # before any work is done for it
        confirm_on_terminal(f"{plan.model} {plan.version} is to become the default.")
    with begun as change:
        done = deploy(change, plan)
    back = f" Back: {command(f'rollback {done.model}')}" if done.can_roll_back else ""
    text = f"{done.model} {done.version} answers now, with {done.workers} workers.{back}"
    return print_result(options, asdict(done), text)
