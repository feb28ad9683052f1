"""What becomes of what Ray prints."""

from __future__ import annotations

import io
from contextlib import redirect_stdout

import pytest

from marserve.bulk.messages import Messages

RETRY = (
    "\x1b[33m(raylet)\x1b[0m Task MapWorker(MapBatches(Worker)).submit failed. There are infinite retries remaining, "
    "so the task will be retried. Error: The actor is temporarily unavailable: RpcError: RPC error: Socket closed"
)
LOST = (
    "\x1b[33m(raylet)\x1b[0m The node with node id: 8a80 and address: 198.18.0.11 and node name: 198.18.0.11 has been "
    "marked dead because the detector has missed too many heartbeats from it. This can happen when a \t(1) raylet "
    "crashes unexpectedly (OOM, etc.) \n\t(2) raylet has lagging heartbeats due to slow network or busy workload."
)
DIED = (
    "\x1b[33m(raylet, ip=198.18.0.11)\x1b[0m A worker died or was killed while executing a task by an unexpected "
    "system error. To troubleshoot the problem, check the logs for the dead worker. Lease ID: 0600 Worker ID: 023d "
    "Node ID: e77a Worker IP address: 198.18.0.11 Worker port: 37939 Worker PID: 24861"
)
NO_MEMORY = "(raylet) 1 Workers (tasks / actors) killed due to memory pressure (OOM)\nin two lines"
AGAIN = "\x1b[32m [repeated 2x across cluster] (Ray deduplicates logs by default.)\x1b[0m"


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        (RETRY, ""),
        (RETRY + AGAIN, ""),
        (LOST, ""),
        (DIED + AGAIN, "An actor on host 198.18.0.11 has ended (a picture, or no memory), and is started again.\n"),
        (NO_MEMORY + AGAIN, f"Ray: {NO_MEMORY.removeprefix('(raylet) ')}\n"),
    ],
)
def test_what_is_new_to_a_person_is_said_and_nothing_else(
    capsys: pytest.CaptureFixture[str], printed: str, said: str
) -> None:
    others = io.StringIO()
    with redirect_stdout(Messages(others)):
        print(printed)
        print("a line of somebody else\n", flush=True)
        print(printed)
    assert others.getvalue() == "a line of somebody else\n\n"
    assert capsys.readouterr().err == 2 * said
