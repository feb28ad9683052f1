"""What is told, and asked, of a stack whose web service speaks TLS."""

from __future__ import annotations

import http.server
import os
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from marserve.manage.running_stack import RunningStack
from marserve.stack.lifecycle import addresses
from marserve.stack.ports import Ports
from marserve.stack.run_directory import RunDirectory, State
from marserve.stack.services import WebService
from marserve.system import processes
from tests.certificates import Pair, make_pair

pytestmark = pytest.mark.needs("openssl")


class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return make_pair(tmp_path, host="10.9.8.7")


@pytest.fixture
def port(pair: Pair) -> Iterator[int]:
    """Of a server that speaks TLS."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ready)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def a_state(port: int, choices: dict[str, str]) -> State:
    here = processes.record("serve", os.getpid())
    return State(Ports(web_port=port), "/nowhere", here, choices=choices)


def test_commands_and_the_supervisor_ask_over_tls_and_trust_what_is_published(
    tmp_path: Path, port: int, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARSERVE_TLS_CERTIFICATE", str(pair.certificate))
    run_directory = RunDirectory(port, tmp_path / "run")
    run_directory.path.mkdir(parents=True)
    service = WebService(Ports(web_port=port), run_directory, "127.0.0.1", default_model="resnet18")
    stack = RunningStack(run_directory, a_state(port, {"MARSERVE_TLS_CERTIFICATE": str(pair.certificate)}))
    assert not service.is_ready(), "before it has published what it shows nobody sends it anything"
    assert stack.request_web("/readyz") is None
    run_directory.certificate.write_bytes(pair.certificate.read_bytes())
    assert service.is_ready()
    assert service.is_back()
    assert stack.request_web("/readyz") is not None
    run_directory.certificate.write_bytes(make_pair(tmp_path, "other").certificate.read_bytes())
    assert not service.is_ready()


def test_the_addresses_are_those_of_tls(tmp_path: Path) -> None:
    run_directory = RunDirectory(5000, tmp_path)
    plain = "\n".join(addresses(a_state(5000, {}), run_directory))
    secure = "\n".join(addresses(a_state(5000, {"MARSERVE_TLS_CERTIFICATE": "/c.pem"}), run_directory))
    assert "https" not in plain
    assert "http://127.0.0.1:5000" not in secure
    assert f"curl --cacert {run_directory.certificate} -F" in secure
