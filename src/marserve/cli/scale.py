"""Change the number of workers.

Returns when the new workers are ready. If one cannot start, the old number stays and the reason is shown. With fewer
workers no request is lost: the web service sends again what they were working on. The next serve starts as many.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict

from marserve.arguments import whole
from marserve.cli.operating import EXIT_STATUS, MOST_WORKERS, add_common, begin, print_result

NEEDS = "serve"
EPILOG = f"""examples:
  marserve scale resnet18 --workers 4
      four workers; returns when all are READY

{EXIT_STATUS}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("--workers", type=whole(0, MOST_WORKERS), required=True, metavar="N")
    parser.add_argument("--version", metavar="V", help="the version to scale (default: the default one)")
    parser.add_argument("--force", action="store_true", help="even if there are not enough cores or memory")
    add_common(parser, changes=True)


def run(options: argparse.Namespace) -> int:
    from marserve.manage.scaling import scale

    with begin(options) as change:
        done = scale(change, options.model, options.version, options.workers, force=options.force)
    return print_result(options, asdict(done), f"{done.model} {done.version} has {done.workers} workers.")
