"""The autoscaler as a process of the stack, for ``marserve serve --autoscale``."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from functools import partial
from pathlib import Path

from marserve.autoscale.autoscaler import INTERVAL_S, Autoscaler
from marserve.autoscale.rules import API_KEY_VARIABLE, Assignment
from marserve.client.management import ManagementClient
from marserve.errors import MarserveError
from marserve.system.loopback import LOOPBACK, request

#: Seconds for one answer of either server.
DEADLINE_S = 5.0


def main(argument: str) -> int:
    given = Assignment.from_json(argument)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level="INFO", stream=sys.stdout, force=True)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())

    def read_metrics(host: str, port: int, headers: dict[str, str], certificate: Path | None = None) -> str:
        reply = request(
            "GET", port, "/metrics", host=host, headers=headers, timeout_s=DEADLINE_S, certificate=certificate
        )
        if reply is None or reply.status != 200:
            why = "do not answer" if reply is None else f"are answered with status {reply.status}"
            raise MarserveError(f"the metrics on port {port} {why}")
        return reply.body.decode(errors="replace")

    key = os.environ.get(API_KEY_VARIABLE)
    read_torchserve = partial(read_metrics, LOOPBACK, given.metrics_port, {})
    certificate = None if given.web_certificate is None else Path(given.web_certificate)
    read_web = partial(read_metrics, given.web_host, given.web_port, {"X-API-Key": key} if key else {}, certificate)

    url = f"http://{LOOPBACK}:{given.management_port}"
    with ManagementClient(url, key_file=Path(given.key_file), deadline_s=DEADLINE_S) as management:
        scaler = Autoscaler(given, management, read_torchserve, read_web)
        logging.info(
            "Watching %s: %d to %d workers, threads of each: %d; requests may wait %.0f ms for one on average",
            " and ".join(given.models), given.rules.minimum, given.rules.maximum, given.threads,
            given.rules.target_wait_s * 1000,
        )  # fmt: skip
        while not stopped.wait(INTERVAL_S):
            scaler.step()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
