"""Waiting until the web service has noticed a change of versions."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from marserve.errors import MarserveError
from marserve.manage import running_stack
from marserve.manage.running_stack import RunningStack
from marserve.stack.ports import Ports
from marserve.stack.run_directory import RunDirectory, State
from marserve.system.processes import ProcessRecord


class FakeWebService(ThreadingHTTPServer):
    """Gives its answers one after the other, the last one again and again."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[tuple[int, object]] = []
        self.paths: list[str] = []


class _Handler(BaseHTTPRequestHandler):
    server: FakeWebService

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        answers = self.server.answers
        status, content = answers.pop(0) if len(answers) > 1 else answers[0]
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeWebService]:
    monkeypatch.setattr(running_stack, "NOTICE_S", 1.0)
    monkeypatch.setattr(running_stack, "BLIND_S", 0.01)
    monkeypatch.setattr(running_stack, "POLL_S", 0.01)
    with FakeWebService() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def stack_of(service: FakeWebService, directory: Path) -> RunningStack:
    ports = Ports(web_port=service.server_port)
    return RunningStack(RunDirectory(1, directory), State(ports, "tmp", ProcessRecord("serve", 1, 0.0)))


def models(version: str) -> tuple[int, object]:
    return 200, {"models": [{"name": "resnet18", "version": version}]}


def test_it_returns_once_the_new_version_is_the_default(service: FakeWebService, tmp_path: Path) -> None:
    service.answers = [models("1.0"), (503, {}), models("1.0"), models("2.0")]
    stack_of(service, tmp_path).wait_until_default("resnet18", "2.0")
    assert service.paths == ["/models"] * 4


def test_it_returns_once_the_version_has_answered(service: FakeWebService, tmp_path: Path) -> None:
    service.answers = [(404, {}), (503, {}), (200, {})]
    stack_of(service, tmp_path).wait_until_ready("resnet18", "2.0")
    assert service.paths == ["/v2/models/resnet18/versions/2.0/ready"] * 3


def test_a_service_that_asks_for_keys_is_given_time_instead(service: FakeWebService, tmp_path: Path) -> None:
    service.answers = [(401, {})]
    stack_of(service, tmp_path).wait_until_default("resnet18", "2.0")
    assert len(service.paths) == 1


@pytest.mark.parametrize("answer", [models("1.0"), (503, {})])
def test_a_service_that_never_notices_is_an_error(
    service: FakeWebService, tmp_path: Path, answer: tuple[int, object]
) -> None:
    service.answers = [answer]
    with pytest.raises(MarserveError, match=r"another version than 2\.0"):
        stack_of(service, tmp_path).wait_until_default("resnet18", "2.0")
