"""The autoscaler beside a real stack: load brings a worker, quiet takes it away, and no request is lost by either."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from marserve.handler.resnet18.cpu import usable_cores
from marserve.system.waiting import wait_until
from tests.e2e import serving
from tests.e2e.serving import ANSWER_S, PATIENCE_S, Stack, stack_on_free_ports
from tests.support import CAT

pytestmark = pytest.mark.needs("two-cores")

#: Impatient, so that the test takes seconds: by default a worker stays for a minute.
SERVE = (*serving.SERVE, "--autoscale", "1..64")
IMPATIENT = ("--autoscale-target", "20", "--autoscale-quiet", "5")
CLIENTS = 12


@pytest.fixture
def autoscaled(served: Stack) -> Iterator[Stack]:
    """A stack beside ``served``, which has built its archives."""
    stack = stack_on_free_ports()
    try:
        # Each request is to reach a worker.
        yield stack.started(*SERVE, *IMPATIENT, MARSERVE_CACHE_MAX_ENTRIES="0")
    finally:
        stack.end()


def test_load_brings_a_worker_and_quiet_takes_it_away(autoscaled: Stack) -> None:
    assert autoscaled.described("resnet18").ready_workers == 1
    log = autoscaled.run_directory.logs / "autoscale.log"
    ended = threading.Event()
    numbers = itertools.count()
    picture = CAT.read_bytes()

    def keep_asking() -> set[int]:
        statuses = set()
        with requests.Session() as session:
            while not ended.is_set():
                # No two are the same, or the web service would ask once for all that are.
                body = picture + str(next(numbers)).encode()
                url = f"{autoscaled.web}/predict?model=resnet18"
                statuses.add(session.post(url, data=body, timeout=ANSWER_S).status_code)
        return statuses

    with ThreadPoolExecutor(CLIENTS) as clients:
        asking = [clients.submit(keep_asking) for _ in range(CLIENTS)]
        try:
            assert wait_until(lambda: "1 -> 2 workers: requests wait" in log.read_text(), PATIENCE_S), log.read_text()
            assert wait_until(lambda: autoscaled.described("resnet18").ready_workers == 2, PATIENCE_S), log.read_text()
            time.sleep(2)  # of load for both
        finally:
            ended.set()
    assert set().union(*(client.result() for client in asking)) == {200}
    assert wait_until(lambda: autoscaled.described("resnet18").ready_workers == 1, PATIENCE_S), log.read_text()
    explained = log.read_text()
    assert "2 -> 1 workers: quiet; for 5 s requests waited" in explained
    # Nobody asked the other model anything, so it kept its one worker.
    assert "efficientnet_lite0: 1 ->" not in explained
    assert f"1 to {usable_cores()} workers" in explained, "no more than there are cores, whatever was asked for"
