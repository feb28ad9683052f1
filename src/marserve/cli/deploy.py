"""Make a new version the default, after checking it.

Registers the archive as a new version beside the present one, starts one worker, compares its answers with the
present version's, starts the other workers, warms them up, and makes the new version the default. If any step
fails, or on Ctrl-C, the new version is removed; the old one answers all the time. After success the old version keeps
one worker for rollback, and the version before it is removed.

With --shadow and --canary live traffic decides before that: copies of a share of the live pictures, or a share of these
themselves, go to the new version, and its answers, times and failures are compared with the old one's. What the new
version does not answer, the old one does. Whatever ends this command, all live pictures are the old one's again.

Needs a stack started with --model-api. What was deployed lasts: the next serve starts it, however this one ends.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from marserve.arguments import file, percentage, real, rising_percentages, share, whole
from marserve.cli.operating import EXIT_STATUS, MOST_WORKERS, add_common, add_pictures, begin, pictures, print_result
from marserve.paths import command
from marserve.terminal import complain, say

if TYPE_CHECKING:
    from marserve.manage.rollout import LivePlan

NEEDS = "serve"
EPILOG = f"""examples:
  marserve build --weights new.pth --version 2.0 --output new
  marserve deploy resnet18 --archive new/resnet18.mar --pictures photographs
      2.0 becomes the default if it answers these pictures as the present version does
  marserve deploy resnet18 --archive new/resnet18.mar --shadow 10% --canary 5%
      2.0 gets copies of every tenth live picture, then answers 5 %, 10 %, 25 %, 50 % and all of them, and becomes the
      default, unless it proves to be worse
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
        "--shadow", type=percentage(0.1, 100), metavar="SHARE",
        help="share of the live pictures that are copied to the new version and compared, such as 10%%",
    )  # fmt: skip
    parser.add_argument(
        "--canary", type=rising_percentages, metavar="SHARE[,SHARE...]",
        help="shares of the live pictures that the new version answers, one after the other; 5%% alone means "
        "5%%,10%%,25%%,50%%,100%%",
    )  # fmt: skip
    parser.add_argument(
        "--max-disagreement", type=percentage(0.01, 50), default=0.01, metavar="SHARE",
        help="of live pictures whose most probable class may differ (default: 1%%; with --no-compare any)",
    )  # fmt: skip
    parser.add_argument(
        "--max-latency-ratio", type=real(1, 100), default=1.25, metavar="TIMES",
        help="how many times as long a live picture may take (default: 1.25)",
    )  # fmt: skip
    parser.add_argument(
        "--max-error-rate", type=percentage(0.001, 50), default=0.001, metavar="SHARE",
        help="of live pictures that the new version may fail and the old one answers (default: 0.1%%, which takes some "
        "3,000 pictures to show; 1%% takes 300)",
    )  # fmt: skip
    parser.add_argument(
        "--max-ended-workers", type=whole(0, 1000), default=1, metavar="N",
        help="workers of the new version that may end by themselves meanwhile (default: 1)",
    )  # fmt: skip
    parser.add_argument(
        "--step-pictures", type=whole(1, 10**9), default=200, metavar="N",
        help="pictures that the new version answers in each step of the canary, at least (default: 200)",
    )  # fmt: skip
    parser.add_argument(
        "--step-seconds", type=real(0, 604800), default=60.0, metavar="SECONDS",
        help="how long each step of the canary takes, at least (default: 60)",
    )  # fmt: skip
    parser.add_argument(
        "--give-up-after", type=real(1, 604800), default=3600.0, metavar="SECONDS",
        help="what live traffic has not decided by then is no: the new version is removed (default: 3600)",
    )  # fmt: skip
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
    from marserve.manage.rollout import TurnedDownError

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
        live=_live_plan(options),
    )
    if not options.yes and not sys.stdin.isatty():  # before any work is done for it
        confirm_on_terminal(f"{plan.model} {plan.version} is to become the default.")
    try:
        with begun as change:
            done = deploy(change, plan)
    except TurnedDownError as turned_down:
        complain(str(turned_down))
        if options.json:
            say(json.dumps({"model": plan.model, "version": None, "verdict": turned_down.verdict.as_json()}))
        return turned_down.exit_status
    back = f" Back: {command(f'rollback {done.model}')}" if done.can_roll_back else ""
    text = f"{done.model} {done.version} answers now, with {done.workers} workers.{back}"
    verdict = done.verdict.as_json() if done.verdict else None
    return print_result(options, {**asdict(done), "verdict": verdict}, text)


def _live_plan(options: argparse.Namespace) -> LivePlan | None:
    """How live traffic decides; None where neither a shadow nor a canary is asked for."""
    from marserve.manage.rollout import STEPS, LivePlan
    from marserve.manage.verdict import Limits

    if options.shadow is None and options.canary is None:
        return None
    canary: tuple[float, ...] = options.canary or ()
    if len(canary) == 1:
        canary = (*canary, *(step for step in STEPS if step > canary[0]))
    return LivePlan(
        shadow=options.shadow,
        canary=canary,
        limits=Limits(
            max_disagreement=None if options.no_compare else options.max_disagreement,
            max_latency_ratio=options.max_latency_ratio,
            max_error_rate=options.max_error_rate,
            max_ended_workers=options.max_ended_workers,
        ),
        step_pictures=options.step_pictures,
        step_s=options.step_seconds,
        give_up_after_s=options.give_up_after,
    )
