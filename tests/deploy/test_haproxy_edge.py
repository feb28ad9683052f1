"""What callers, hosts and operators get of haproxy itself: its answers, headers, log, metrics and HTTPS."""

from __future__ import annotations

import asyncio
import json
import subprocess
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from marserve.system.waiting import wait_until
from marserve.web import errors
from tests.certificates import make_pair
from tests.deploy.fake_hosts import (
    ANSWER_S,
    LARGE,
    PICTURE,
    QUICK,
    Host,
    assert_is_error,
    before,
    connected,
    label,
    pem,
    send,
)
from tests.deploy.proxy import CONFIGURATION, SHIPPED, proxy
from tests.deploy.repeated_pictures import web_services

pytestmark = pytest.mark.needs("haproxy")


@pytest.mark.parametrize("file", sorted((SHIPPED / "errors").glob("*.http")), ids=lambda file: file.stem)
def test_what_the_proxy_answers_by_itself_has_the_services_shape_and_names(file: Path) -> None:
    head, _, body = file.read_text(encoding="ascii").partition("\n\n")
    status, *headers = head.splitlines()
    content = json.loads(body)
    named = dict(header.split(": ") for header in headers)
    assert int(named["Content-Length"]) == len(body)
    assert named["Content-Type"] == "application/json"
    assert content["code"] == int(status.split()[1])
    assert content["error"] == content["message"]
    assert getattr(errors, content["type"]).status == content["code"]
    assert ("Retry-After" in named) == (content["code"] in {503, 504})


def test_a_host_learns_who_calls_and_nothing_that_callers_made_up(hosts: list[Host], tmp_path: Path) -> None:
    with before(hosts, tmp_path) as started:
        made_up = {"X-Forwarded-Prefix": "/evil", "Forwarded": "for=1.2.3.4", "X-Forwarded-Proto": "https"}
        kept = {"X-API-Key": "a-key-of-16-chars", "Traceparent": "00-1", "X-Request-ID": "mine", "X-Priority": "bulk"}
        more = {"X-Forwarded-For": "1.2.3.4", "X-Forwarded-Host": "evil.example"}
        answer = requests.post(started.url, data=PICTURE, headers={**made_up, **kept, **more}, timeout=ANSWER_S)
        assert answer.headers["X-Request-ID"] == "mine"
    received = {name.lower(): value for name, value in (hosts[0].requests or hosts[1].requests)[0].headers.items()}
    assert {name: received[name.lower()] for name in kept} == kept
    assert "forwarded" not in received
    assert "x-forwarded-prefix" not in received
    assert received["x-forwarded-proto"] == "http"
    assert received["x-forwarded-host"] == urlsplit(started.url).netloc


@pytest.mark.parametrize("given", [{}, {"X-Request-ID": "a b"}, {"X-Request-ID": "x" * 65}, {"X-Request-ID": '"},{'}])
def test_a_request_without_a_good_id_gets_one(given: dict[str, str], hosts: list[Host], tmp_path: Path) -> None:
    with before(hosts, tmp_path) as started:
        answer = requests.get(started.url, headers=given, timeout=ANSWER_S)
    (received,) = hosts[0].requests + hosts[1].requests
    assert answer.headers["X-Request-ID"] == received.headers["x-request-id"]
    assert len(answer.headers["X-Request-ID"]) == 36


def test_the_log_has_a_line_of_json_for_each_request(hosts: list[Host], tmp_path: Path) -> None:
    with before(hosts, tmp_path) as started:
        with connected(started) as connection:
            connection.sendall(b'GET /classify"},\\{"a":"%22?secret=1 HTTP/1.1\r\nHost: x\r\n\r\n')
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        send(started, X_Request_ID="mine")
        assert wait_until(lambda: len(started.requests()) == 2, 5)
        first, second = started.requests()
    assert first["path"] == '/classify"},\\{"a":"%22'
    expected = {"request_id": "mine", "method": "POST", "path": "/classify", "status": 200, "client": "127.0.0.1"}
    assert {name: second[name] for name in expected} == expected
    assert second["host"] in {"one", "two"}
    assert second["bytes_in"] > len(PICTURE)
    assert {
        "time",
        "level",
        "duration_ms",
        "bytes_out",
        "queue_ms",
        "connect_ms",
        "answer_ms",
        "retries",
        "ended",
    } < set(second)


def test_figures_are_for_the_machine_itself(hosts: list[Host], tmp_path: Path) -> None:
    assert '"${PROXY_METRICS-127.0.0.1:8404}"' in CONFIGURATION.read_text(encoding="utf-8")
    with before(hosts, tmp_path) as started:
        send(started)
        for path in ("/metrics", "//metrics/", "/metrics/torchserve", "/%6Detrics?a=b"):
            assert_is_error(requests.get(f"{started.url}{path}", timeout=ANSWER_S), 404, "NotFound")
        figures = requests.get(f"{started.metrics}/metrics", timeout=ANSWER_S).text
        assert 'haproxy_server_status{proxy="marserve",server="one",state="UP"} 1' in figures
        assert "one" in requests.get(started.metrics, timeout=ANSWER_S).text
        assert not any(host.requests[1:] for host in hosts)


@pytest.mark.needs("openssl")
def test_https_ends_at_the_proxy(hosts: list[Host], tmp_path: Path) -> None:
    with before(hosts, tmp_path, PROXY_TLS=str(pem(tmp_path)), scheme="https") as started:
        certificate = str(tmp_path / "here.pem")
        answer = requests.post(f"{started.url}/classify", data=PICTURE, verify=certificate, timeout=ANSWER_S)
        assert label(answer) in {"one", "two"}
    (received,) = hosts[0].requests + hosts[1].requests
    assert received.headers["x-forwarded-proto"] == "https"


@pytest.mark.needs("openssl", "curl")
def test_a_browser_speaks_http_2_with_the_proxy(hosts: list[Host], tmp_path: Path) -> None:
    (tmp_path / "large.jpg").write_bytes(LARGE)
    with before(hosts, tmp_path, PROXY_TLS=str(pem(tmp_path)), scheme="https") as started:
        command = ["curl", "-s", "--http2", "--cacert", "here.pem", "-w", " %{http_version}", "-T", "large.jpg"]
        done = subprocess.run([*command, started.url], cwd=tmp_path, capture_output=True, text=True, check=False)
    content, _, version = done.stdout.rpartition(" ")
    assert (json.loads(content)["model"], version) == ("resnet18", "2")
    assert [request.body for host in hosts for request in host.requests] == [LARGE]


@pytest.mark.needs("openssl")
def test_https_reaches_to_a_host_whose_certificate_is_trusted_and_its_own(tmp_path: Path) -> None:
    pair = make_pair(tmp_path)
    settings = {"tls_certificate": pair.certificate, "tls_key": pair.key}

    async def answer() -> int:
        async with web_services(1, **settings) as [(_, address)]:
            trusted = f"{address} {QUICK} ssl verify required ca-file {pair.certificate} verifyhost"
            lines = [f"one {trusted} localhost", f"other {trusted} other.example"]
            with proxy(tmp_path, lines) as started:
                assert await asyncio.to_thread(wait_until, lambda: not started.is_in_rotation("other"), 10)
                assert await asyncio.to_thread(wait_until, partial(started.is_in_rotation, "one"), 10)
                return (await asyncio.to_thread(send, started, b"picture")).status_code

    assert asyncio.run(answer()) == requests.codes.ok
