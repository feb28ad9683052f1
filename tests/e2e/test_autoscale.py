"""The autoscaler beside a real stack: load brings a worker, quiet takes it away, and no request is lost by either."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from marserve.handler.resnet18.cpu import usable_cores
from marserve.stack.run_directory import remove_tree
from tests.e2e.conftest import ServedStack
from tests.e2e.serving import ANSWER_S, Stack, stack_on_free_ports
from tests.support import CAT

pytestmark = pytest.mark.needs("two-cores")

#: Impatient, so that the test takes seconds: by default a worker stays for a minute.
SERVE = ("--detach", "--weights", "untrained", "--precision", "f32", "--autoscale", "1..64")
IMPATIENT = ("--autoscale-target", "20", "--autoscale-quiet", "5")
CLIENTS = 12
#: Seconds for the autoscaler to notice, and for a worker to start on a slow machine.
PATIENCE_S = 60


@pytest.fixture
def autoscaled(served: ServedStack) -> Iterator[Stack]:
    """A stack beside ``served``, which has built its archives."""
    stack = stack_on_free_ports()
    try:
        # Each request is to reach a worker.
        started = stack.run("serve", *SERVE, *IMPATIENT, MARSERVE_CACHE_MAX_ENTRIES="0")
        assert started.returncode == 0, f"{started.stdout}\n{started.stderr}\n{stack.logs()}"
        yield stack
    finally:
        stack.run("stop")
        remove_tree(stack.run_directory.path)


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
            assert comes_true(lambda: "1 -> 2 workers: requests wait" in log.read_text()), log.read_text()
            assert comes_true(lambda: autoscaled.described("resnet18").ready_workers == 2), log.read_text()
            time.sleep(2)  # of load for both
        finally:
            ended.set()
    assert set().union(*(client.result() for client in asking)) == {200}
    assert comes_true(lambda: autoscaled.described("resnet18").ready_workers == 1), log.read_text()
    explained = log.read_text()
    assert "2 -> 1 workers: quiet; for 5 s requests waited" in explained
    # Nobody asked the other model anything, so it kept its one worker.
    assert "efficientnet_lite0: 1 ->" not in explained
    assert f"1 to {usable_cores()} workers" in explained, "no more than there are cores, whatever was asked for"


def comes_true(condition: Callable[[], bool]) -> bool:
    give_up = time.monotonic() + PATIENCE_S
    while not (met := condition()) and time.monotonic() < give_up:
        time.sleep(0.5)
    return met
