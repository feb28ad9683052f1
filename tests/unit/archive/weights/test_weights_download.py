"""Downloads from a server that fails in every way that servers and connections do."""

from __future__ import annotations

import hashlib
import io
import socket
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from marserve.archive.weights.download import DownloadFailed, DownloadLimits, PublishedFile, download
from tests.unit.archive.weights.weights_server import Behaviour, WeightsServer, cut, send, status

CONTENT = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
HALF = len(CONTENT) // 2
NAME = f"network-{SHA256[:8]}.pth"
LOGIN_PAGE = b"<!DOCTYPE html>\n<html><head><title>Guest\n  &amp; visitor login</title></head></html>"


def fetch(
    url: str, directory: Path, *, limits: DownloadLimits | None = None, sha256: str = SHA256
) -> tuple[str, list[str]]:
    """Download ``url`` with no pauses; the digest, and the lines that were reported."""
    lines: list[str] = []
    limits = replace(limits or DownloadLimits(), attempts=3, first_pause_s=0, line_interval_s=0)
    found = download(PublishedFile(url, NAME, sha256, "test"), directory, report=lines.append, limits=limits)
    return found, lines


def refused(url: str, directory: Path, *, limits: DownloadLimits | None = None, sha256: str = SHA256) -> str:
    """The reason why ``url`` cannot be had."""
    with pytest.raises(DownloadFailed) as failure:
        fetch(url, directory, limits=limits, sha256=sha256)
    return str(failure.value)


def test_file_arrives_whole_and_progress_is_reported_in_lines(server: WeightsServer, cache: Path) -> None:
    found, lines = fetch(server.on("/file", send(CONTENT)), cache, sha256=SHA256[:8])
    assert found == SHA256
    assert [path.name for path in cache.iterdir()] == [NAME]
    assert (cache / NAME).read_bytes() == CONTENT
    assert lines[-1] == f"{NAME}: 1.0 of 1.0 MB"


def test_progress_is_a_bar_on_a_terminal(server: WeightsServer, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    _, lines = fetch(server.on("/file", send(CONTENT)), cache)
    assert lines == []
    assert NAME in terminal.getvalue()


@pytest.mark.parametrize(
    ("behaviours", "reason"),
    [
        ([status(404)], "the server answered 404 Not Found"),
        ([status(403)], "the server answered 403 Forbidden"),
        ([status(503)], "the server answered 503 Service Unavailable"),
        ([send(CONTENT[:-1] + b"!")], f"and {SHA256} was expected"),
        ([send(b"")], f"and {SHA256} was expected"),
        ([send(LOGIN_PAGE)], 'the server sent a web page titled "Guest & visitor login" instead of the file'),
        ([send(b"<html><body>\x1b[2J")], "the server sent a web page instead of the file"),
        ([cut(CONTENT, HALF), status(404)], "the server answered 404 Not Found"),
        ([cut(CONTENT, HALF)], "more expected"),
        ([cut(CONTENT, HALF), send(CONTENT[:-1] + b"!")], f"and {SHA256} was expected"),
    ],
)
def test_failed_download_says_why_and_leaves_nothing(
    server: WeightsServer, cache: Path, behaviours: list[Behaviour], reason: str
) -> None:
    assert reason in refused(server.on("/file", *behaviours), cache)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503])
def test_server_trouble_is_tried_again(server: WeightsServer, cache: Path, code: int) -> None:
    found, lines = fetch(server.on("/file", status(code), send(CONTENT)), cache)
    assert found == SHA256
    assert f"the server answered {code}" in lines[0]
    assert len(server.requests) == 2


def test_attempts_are_bounded(server: WeightsServer, cache: Path) -> None:
    refused(server.on("/file", status(500)), cache)
    assert len(server.requests) == 3


def test_broken_connection_is_resumed_where_it_broke(server: WeightsServer, cache: Path) -> None:
    found, _ = fetch(server.on("/file", cut(CONTENT, HALF), send(CONTENT)), cache)
    assert found == SHA256
    (_, first), (_, second) = server.requests
    assert first["Range"] is None
    offset = int(second["Range"].removeprefix("bytes=").removesuffix("-"))
    assert 0 < offset <= HALF


@pytest.mark.parametrize(
    "answers_to_range",
    [
        pytest.param([send(CONTENT, ranges=False)], id="range-ignored"),
        pytest.param([status(416), send(CONTENT)], id="range-refused"),
        pytest.param([status(206, {"Content-Range": "bytes 7-9/10"}), send(CONTENT)], id="another-range"),
        pytest.param([status(206), send(CONTENT)], id="range-not-named"),
    ],
)
def test_download_starts_over_where_the_server_cannot_resume(
    server: WeightsServer, cache: Path, answers_to_range: list[Behaviour]
) -> None:
    found, _ = fetch(server.on("/file", cut(CONTENT, HALF), *answers_to_range), cache)
    assert found == SHA256
    assert (cache / NAME).read_bytes() == CONTENT


def test_stalled_body_is_resumed(server: WeightsServer, cache: Path) -> None:
    limits = DownloadLimits(stall_s=0.3)
    found, lines = fetch(server.on("/file", server.stall(CONTENT, HALF), send(CONTENT)), cache, limits=limits)
    assert found == SHA256
    assert any("Read timed out" in line for line in lines)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [(DownloadLimits(answer_s=0.3), "no answer within 0.3 seconds"), (DownloadLimits(stall_s=0.3), "Read timed out")],
)
def test_server_that_never_answers_is_given_up_at_once(
    server: WeightsServer, cache: Path, limits: DownloadLimits, reason: str
) -> None:
    assert reason in refused(server.on("/file", server.hang), cache, limits=limits)
    assert len(server.requests) == 1


def test_name_resolution_that_hangs_is_given_up(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def resolve(*_: object, **__: object) -> list[object]:
        over.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "no name server")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    try:
        assert "no answer within 0.3 seconds" in refused(
            "http://weights.invalid/file", cache, limits=DownloadLimits(answer_s=0.3)
        )
    finally:
        over.set()


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/file", "http://[::1", "no-scheme", "ftp://127.0.0.1/file"])
def test_address_that_cannot_be_reached_is_tried_once(cache: Path, url: str) -> None:
    lines: list[str] = []
    with pytest.raises(DownloadFailed):
        download(PublishedFile(url, NAME, SHA256, "test"), cache, report=lines.append, limits=DownloadLimits())
    assert lines == []
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("linked_etag", [None, f'"{SHA256}"', f'W/"{SHA256}"', '"5f2c3a"'])
def test_redirect_with_a_fitting_digest_or_none_is_followed(
    server: WeightsServer, cache: Path, linked_etag: str | None
) -> None:
    announced = {} if linked_etag is None else {"X-Linked-ETag": linked_etag}
    url = server.on("/file", status(302, {"Location": server.on("/storage", send(CONTENT))} | announced))
    assert fetch(url, cache)[0] == SHA256


@pytest.mark.parametrize("redirected", [True, False])
def test_announced_digest_of_other_content_is_refused(server: WeightsServer, cache: Path, redirected: bool) -> None:
    other = {"X-Linked-ETag": f'"{"0" * 64}"'}
    storage = server.on("/storage", send(CONTENT, headers={} if redirected else other))
    url = server.on("/file", status(302, {"Location": storage} | other)) if redirected else storage
    assert f"its SHA-256 is {'0' * 64}" in refused(url, cache)
    assert list(cache.iterdir()) == []


def test_two_downloads_at_once_both_succeed(server: WeightsServer, cache: Path) -> None:
    both_started = threading.Barrier(2, timeout=30)

    def send_when_both_started(request: object) -> None:
        both_started.wait()
        send(CONTENT)(request)  # type: ignore[arg-type]

    url = server.on("/file", send_when_both_started)
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(fetch(url, cache)[0])) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [SHA256, SHA256]
    assert [path.name for path in cache.iterdir()] == [NAME]
    assert (cache / NAME).read_bytes() == CONTENT


def test_other_content_under_the_name_is_kept_aside(server: WeightsServer, cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / NAME).write_bytes(b"somebody's own")
    fetch(server.on("/file", send(CONTENT)), cache)
    assert (cache / NAME).read_bytes() == CONTENT
    assert (cache / f"{NAME}.other").read_bytes() == b"somebody's own"


def test_directory_that_cannot_be_written_is_named(server: WeightsServer, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("not a directory")
    assert f"{tmp_path / 'cache' / NAME} cannot be written" in refused(
        server.on("/file", send(CONTENT)), tmp_path / "cache"
    )


def test_interrupted_download_leaves_nothing(server: WeightsServer, cache: Path) -> None:
    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    file = PublishedFile(server.on("/file", send(CONTENT)), NAME, SHA256, "test")
    with pytest.raises(KeyboardInterrupt):
        download(file, cache, report=interrupt, limits=DownloadLimits(line_interval_s=0))
    assert list(cache.iterdir()) == []


def test_proxy_of_the_environment_is_used(server: WeightsServer, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    url = "http://weights.invalid/file"
    server.on(url, send(CONTENT))  # a proxy is asked for the whole URL
    assert fetch(url, cache)[0] == SHA256
