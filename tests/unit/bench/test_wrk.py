"""The load generator sends every picture in turn, and counts what fails."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bench.bodies import BodyFormat
from bench.errors import BenchError
from bench.idle_server import idle_server
from bench.target import Target
from bench.wrk import Load, run_wrk, write_requests, wrk_program

PICTURES = [b"\xff\xd8" + bytes([number]) * 3000 for number in range(20)]
needs_wrk = pytest.mark.needs("wrk")


def load(port: int, directory: Path, clients: int = 4, body: BodyFormat | None = None) -> Load:
    target = Target(port, "/predict", body or BodyFormat(), {"Authorization": "Bearer token"})
    write_requests(directory, target, PICTURES)
    return run_wrk(target, directory, clients, 1)


@needs_wrk
@pytest.mark.parametrize("kind", ["raw", "multipart", "base64-json", "v2-binary"])
def test_requests_in_every_form_are_answered(tmp_path: Path, kind: str) -> None:
    with idle_server() as server:
        measured = load(server.port, tmp_path, body=BodyFormat(kind))
        assert measured.ok == measured.requests > 100
        assert measured.failures == 0
        assert 0 < measured.p50_ms <= measured.p90_ms <= measured.p99_ms
        expected = {BodyFormat(kind).encode(picture)[0] for picture in PICTURES}
        assert server.bodies == expected
        assert b"Authorization: Bearer token" in server.last_head


@needs_wrk
def test_errors_are_failures_and_no_throughput(tmp_path: Path) -> None:
    with idle_server(fail_every=4) as server:
        measured = load(server.port, tmp_path)
    assert measured.status_errors == pytest.approx(measured.requests / 4, rel=0.05)
    assert measured.ok == measured.requests - measured.status_errors
    assert measured.failures == measured.status_errors
    assert measured.per_second == pytest.approx(measured.ok / measured.seconds)


@needs_wrk
def test_server_that_is_away_is_an_error(tmp_path: Path) -> None:
    with idle_server() as server:
        port = server.port
    with pytest.raises(BenchError, match="wrk failed"):
        load(port, tmp_path)


def test_missing_wrk_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(BenchError, match="apt-get install wrk"):
        wrk_program()
