"""Tokens out of TorchServe's key file, renewed before they expire."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from marserve.errors import MarserveError
from marserve.stack.run_directory import RunDirectory
from marserve.system.ports import free_ports
from marserve.torchserve.key_file import current_token, read_token

HOUR = timedelta(hours=1)


def write_key_file(file: Path, key: str, lifetime: timedelta, decimals: str = ".123456789Z") -> None:
    expires = (datetime.now(timezone.utc) + lifetime).strftime("%Y-%m-%dT%H:%M:%S") + decimals
    entry = {"key": key, "expiration time": expires}
    file.write_text(json.dumps({"inference": entry, "management": entry, "API": {"key": "api"}}))


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    directory = RunDirectory(5000, tmp_path)
    directory.path.mkdir()
    return directory


@pytest.fixture
def management(directory: RunDirectory) -> Iterator[int]:
    """The port of a management API that renews tokens as TorchServe does."""

    class Management(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            allowed = self.headers["Authorization"] == "Bearer api" and self.path == "/token?type=inference"
            if allowed:
                write_key_file(directory.key_file, "renewed", HOUR)
            self.send_response(200 if allowed else 400)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Nothing on the terminal."""

    with HTTPServer(("127.0.0.1", 0), Management) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("lifetime", "token"),
    [
        pytest.param(HOUR, "first", id="fresh"),
        pytest.param(timedelta(minutes=4), "renewed", id="about-to-expire"),
        pytest.param(-HOUR, "renewed", id="expired"),
    ],
)
def test_a_token_is_renewed_before_it_expires(
    directory: RunDirectory, management: int, lifetime: timedelta, token: str
) -> None:
    write_key_file(directory.key_file, "first", lifetime)
    assert current_token(directory, management, "inference") == token


@pytest.mark.parametrize("decimals", ["Z", ".5Z", ".123456Z", ".123456789Z"])
def test_javas_times_are_read_with_any_number_of_decimals(directory: RunDirectory, decimals: str) -> None:
    write_key_file(directory.key_file, "key", HOUR, decimals)
    left = read_token(directory.key_file, "inference").expires - datetime.now(timezone.utc)
    assert timedelta(minutes=59) < left <= HOUR


def test_a_key_file_that_is_being_written_is_read_when_it_is_whole(directory: RunDirectory) -> None:
    directory.key_file.write_text('{"inference": {"key"')
    writer = threading.Timer(0.3, write_key_file, (directory.key_file, "whole", HOUR))
    writer.start()
    assert read_token(directory.key_file, "inference").key == "whole"
    writer.join()


@pytest.mark.parametrize("content", [None, "{"], ids=["absent", "half"])
def test_no_readable_key_file_is_an_error_that_names_it(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    monkeypatch.setattr("marserve.torchserve.key_file.READ_S", 0.2)
    if content is not None:
        directory.key_file.write_text(content)
    with pytest.raises(MarserveError, match=r"key_file\.json cannot be read"):
        read_token(directory.key_file, "inference")


def test_a_management_api_that_is_gone_is_an_error(directory: RunDirectory) -> None:
    write_key_file(directory.key_file, "old", -HOUR)
    with pytest.raises(MarserveError, match="answered nothing when asked to renew its inference token"):
        current_token(directory, free_ports(1)[0], "inference")
