"""Two real stacks behind haproxy: ``python -m tests.reliability several-hosts`` has more, and writes what it saw."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from marserve.system.waiting import wait_until
from tests.deploy.networks import namespaces, network
from tests.deploy.proxy import proxy
from tests.reliability.several_hosts import NEEDS, ROWS
from tests.reliability.stage import Stage, opened

pytestmark = pytest.mark.needs(*NEEDS)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with opened() as stage:
        yield stage


@pytest.mark.parametrize("what", ["quiet", "host-killed", "host-cut", "host-stopped"])
def test_nothing_fails_but_what_a_lost_host_had_begun(stage: Stage, what: str) -> None:
    row = ROWS[what](stage)
    assert row.holds, row


#: A web service, where only the way to it matters: /readyz is 200, and pictures are answered with its name.
SERVER = """
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", str(len(sys.argv[1])))
        self.end_headers()
        self.wfile.write(sys.argv[1].encode())
    do_POST = do_GET
ThreadingHTTPServer(("0.0.0.0", 5000), Handler).serve_forever()
"""
#: Seconds in which an answer must be here all the same: 3 until the silence is noticed, and what a busy machine takes.
#: After 15 haproxy gives up.
NOTICED_S = 14


def test_what_is_on_its_way_into_a_cut_connection_is_answered_by_the_other_host(tmp_path: Path) -> None:
    """TCP's keep-alive knows nothing of bytes that nobody has acknowledged: it would send those for long."""
    with network(2) as made, ExitStack() as stack:
        for namespace in made.namespaces:
            command = ["ip", "netns", "exec", namespace, sys.executable, "-c", SERVER, namespace]
            process = stack.enter_context(subprocess.Popen(command))
            stack.callback(process.kill)
        # No check is to take a host out of rotation here.
        lines = [f"host{number} {address}:5000 inter 60s" for number, address in enumerate(made.addresses)]
        urls = [f"http://{address}:5000/readyz" for address in made.addresses]
        assert wait_until(lambda: all(map(is_up, urls)), 30)
        session = stack.enter_context(requests.Session())
        balancer = stack.enter_context(proxy(tmp_path, lines))

        def answered() -> set[str]:
            return {session.post(balancer.url, data=bytes(110_000), timeout=NOTICED_S).text for _ in range(8)}

        assert answered() == set(made.namespaces)
        made.plug(0, is_in=False)
        assert answered() == {made.namespaces[1]}


def test_two_networks_of_one_process_do_not_meet() -> None:
    """The stacks' stays for as long as this file's tests run, in whatever order."""
    with network(1) as first:
        with network(1) as second:
            assert not set(first.namespaces) & set(second.namespaces)
            assert not set(first.addresses) & set(second.addresses)
        assert first.processes(0) == []
    assert not set(first.namespaces) & set(namespaces())


def is_up(url: str) -> bool:
    try:
        return requests.get(url, timeout=1).ok
    except requests.RequestException:
        return False
