"""``python -m marserve.autoscale``: the autoscaler as a process of the stack, for ``marserve serve --autoscale``."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from pathlib import Path

from marserve.autoscale.autoscaler import INTERVAL_S, Autoscaler
from marserve.autoscale.rules import Rules
from marserve.client.management import ManagementClient
from marserve.errors import MarserveError
from marserve.system.loopback import request
from marserve.system.ports import LOOPBACK

#: Seconds for one answer of TorchServe.
DEADLINE_S = 5.0


def main() -> int:
    """Watch and scale until a signal asks for the end."""
    parser = argparse.ArgumentParser(prog="python -m marserve.autoscale", description=__doc__, allow_abbrev=False)
    parser.add_argument("--model", action="append", required=True, help="name of a model; may be repeated")
    parser.add_argument("--minimum", type=int, required=True, help="workers that each model always has")
    parser.add_argument("--maximum", type=int, required=True, help="workers that each model has at most")
    parser.add_argument("--threads", type=int, required=True, help="inference threads of each worker")
    parser.add_argument("--management-port", type=int, required=True, help="TorchServe's management API")
    parser.add_argument("--metrics-port", type=int, required=True, help="TorchServe's metrics")
    parser.add_argument("--key-file", type=Path, required=True, help="TorchServe's tokens")
    parser.add_argument("--change-lock", type=Path, required=True, help="lock held while the stack is being changed")
    parser.add_argument("--target-ms", type=float, required=True, help="mean wait that is allowed, in milliseconds")
    parser.add_argument("--quiet-s", type=float, required=True, help="quiet before a worker is taken away, in seconds")
    options = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level="INFO", stream=sys.stdout, force=True)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    rules = Rules(
        options.minimum, options.maximum, target_wait_s=options.target_ms / 1000, down_after_s=options.quiet_s
    )

    def read_metrics() -> str:
        reply = request("GET", options.metrics_port, "/metrics", timeout_s=DEADLINE_S)
        if reply is None or reply.status != 200:
            raise MarserveError(f"its metrics on port {options.metrics_port} do not answer")
        return reply.body.decode(errors="replace")

    url = f"http://{LOOPBACK}:{options.management_port}"
    with ManagementClient(url, key_file=options.key_file, deadline_s=DEADLINE_S) as management:
        scaler = Autoscaler(options.model, rules, options.threads, management, read_metrics, options.change_lock)
        logging.info(
            "Watching %s: %d to %d workers, threads of each: %d; requests may wait %.0f ms for one on average",
            " and ".join(options.model), rules.minimum, rules.maximum, options.threads, rules.target_wait_s * 1000,
        )  # fmt: skip
        while not stopped.wait(INTERVAL_S):
            scaler.step()
    return 0


if __name__ == "__main__":
    sys.exit(main())
