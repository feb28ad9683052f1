"""The chart on the throw-away cluster that KUBECONFIG names, under load; its table is in docs/kubernetes.md."""

from __future__ import annotations

import argparse
import sys

from marserve.system.processes import raise_on_stop_signals
from tests.deploy.cluster.throwaway import NotThrowawayError, refuse_others
from tests.reliability.__main__ import Experiment, add_options, run

EXPERIMENT = Experiment("cluster", "tests.deploy.cluster.rows")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.deploy.cluster",
        description=EXPERIMENT.about,
        epilog=f"rows: {' '.join(EXPERIMENT.rows)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(parser, EXPERIMENT)
    options = parser.parse_args()
    try:
        refuse_others()
    except NotThrowawayError as exc:
        parser.error(str(exc))
    raise_on_stop_signals()  # what was started is ended
    return 0 if run(EXPERIMENT, options) else 1


if __name__ == "__main__":
    sys.exit(main())
