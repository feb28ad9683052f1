"""deploy/haproxy, with a real haproxy: which host answers, and what if it does not."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path
from threading import Event

import psutil
import pytest
import requests

from marserve.system.waiting import wait_until
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
from tests.deploy.proxy import CONFIGURATION, HOSTS, SHIPPED, proxy
from tests.unit.fake_server import Answer, classification

pytestmark = pytest.mark.needs("haproxy")


@pytest.mark.parametrize("has_tls", [False, True])
@pytest.mark.parametrize("has_affinity", [False, True])
@pytest.mark.needs("openssl")
def test_haproxy_has_nothing_against_the_configuration(has_tls: bool, has_affinity: bool, tmp_path: Path) -> None:
    given = {"PROXY_AFFINITY": "1"} if has_affinity else {}
    if has_tls:
        given["PROXY_TLS"] = str(pem(tmp_path))
    command = ["haproxy", "-c", "-V", "-f", str(SHIPPED)]
    done = subprocess.run(command, env={**os.environ, **given}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "Configuration file is valid\n"), done.stderr
    assert "WARNING" not in done.stderr


def test_every_variable_is_named_at_the_top() -> None:
    heading, _, text = CONFIGURATION.read_text(encoding="utf-8").partition("\nglobal\n")
    assert set(re.findall(r"PROXY_[A-Z]+", heading)) == set(re.findall(r"PROXY_[A-Z]+", text))


def test_each_host_has_the_options_that_haproxy_takes_from_its_line_alone() -> None:
    lines = [line.lstrip(" #").split() for line in HOSTS.read_text(encoding="utf-8").splitlines()]
    servers = [line for line in lines if line and line[0] == "server"]
    assert len(servers) == 3
    assert all(line[3:5] == ["tcp-ut", "3s"] for line in servers)


def test_in_quiet_the_hosts_take_turns(hosts: list[Host], tmp_path: Path) -> None:
    with before(hosts, tmp_path) as started:
        assert Counter(label(send(started)) for _ in range(20)) == {"one": 10, "two": 10}


def test_the_host_with_the_fewest_requests_at_work_is_next(hosts: list[Host], tmp_path: Path) -> None:
    for host in hosts:
        host.answers_now.clear()
    with before(hosts, tmp_path) as started, ThreadPoolExecutor(1) as threads:
        slow = threads.submit(send, started)
        assert wait_until(lambda: any(host.requests for host in hosts), 5)
        busy, idle = sorted(hosts, key=lambda host: not host.requests)
        idle.answers_now.set()
        assert {label(send(started)) for _ in range(10)} == {idle.name}
        busy.answers_now.set()
        assert label(slow.result()) == busy.name


def test_a_host_is_in_rotation_while_it_is_ready_and_its_other_answers_say_nothing(
    hosts: list[Host], tmp_path: Path
) -> None:
    hosts[0].is_ready = False
    with before(hosts, tmp_path) as started:
        assert {label(send(started)) for _ in range(6)} == {"two"}
        hosts[0].is_ready = True
        assert wait_until(lambda: started.is_in_rotation("one"), 5)
        assert Counter(label(send(started)) for _ in range(6)) == {"one": 3, "two": 3}
        hosts[0].is_ready = False
        assert wait_until(lambda: not started.is_in_rotation("one"), 5)
        assert {label(send(started)) for _ in range(6)} == {"two"}


def test_what_a_host_has_begun_no_answer_to_is_answered_by_another(hosts: list[Host], tmp_path: Path) -> None:
    hosts[0].answers = [Answer(breaks=True)]
    with before(hosts, tmp_path) as started:
        assert {label(send(started)) for _ in range(6)} == {"two"}
        assert all(request.body == PICTURE for host in hosts for request in host.requests)
        assert started.servers()["one"].retries


def test_a_host_that_does_not_listen_costs_nothing(hosts: list[Host], tmp_path: Path) -> None:
    with before(hosts, tmp_path) as started:
        hosts[0].stop()
        assert {label(send(started, LARGE)) for _ in range(6)} == {"two"}
    hosts[0] = Host("one")


def test_what_is_too_large_to_be_kept_has_to_be_sent_again(hosts: list[Host], tmp_path: Path) -> None:
    hosts[0].answers = hosts[1].answers = [Answer(breaks=True)]
    with before(hosts, tmp_path) as started:
        answer = send(started, LARGE)
        assert_is_error(answer, 503, "ModelUnavailable")
        assert answer.headers["Retry-After"] == "1"
        assert sum(len(host.requests) for host in hosts) == 1


def test_a_caller_who_still_sends_to_a_host_that_goes_is_cut_off(tmp_path: Path) -> None:
    """haproxy 2.6 has no answer then; who does not know must not think that it was answered."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(ANSWER_S)
        with proxy(tmp_path, [f"one 127.0.0.1:{listening.getsockname()[1]} no-check"]) as started:
            with connected(started) as caller:
                caller.sendall(b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n" + LARGE)
                host, _ = listening.accept()
                host.settimeout(ANSWER_S)
                assert host.recv(65536).startswith(b"POST /classify ")
                host.close()
                with suppress(OSError):
                    while True:
                        caller.sendall(LARGE)
                received = b""
                with suppress(ConnectionResetError):
                    received = caller.recv(65536)
                assert received == b"" or received.startswith(b"HTTP/1.1 503 ")
            assert wait_until(lambda: len(started.requests()) == 1, 5)
            assert started.requests()[0]["ended"].startswith("S")


def test_an_answer_that_has_begun_is_never_begun_again(hosts: list[Host], tmp_path: Path) -> None:
    cut = Answer(content=b"{", headers={"Content-Length": "100", "Connection": "close"})
    hosts[0].answers = hosts[1].answers = [cut]
    with before(hosts, tmp_path) as started:
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            send(started)
        assert sum(len(host.requests) for host in hosts) == 1


@pytest.mark.parametrize("path", ["/feedback", "//feedback/", "/%66eedback"])
def test_a_report_is_sent_once(path: str, hosts: list[Host], tmp_path: Path) -> None:
    hosts[0].answers = hosts[1].answers = [Answer(breaks=True)]
    with before(hosts, tmp_path) as started:
        assert send(started, path=path).status_code == requests.codes.service_unavailable
        assert sum(len(host.requests) for host in hosts) == 1


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_host_s_own_failure_is_passed_on(status: int, hosts: list[Host], tmp_path: Path) -> None:
    """It knows best, and under overload a second host would only be sent more."""
    hosts[0].answers = hosts[1].answers = [Answer(status, {"type": "TheHosts"}, {"Retry-After": "7"})]
    with before(hosts, tmp_path) as started:
        answer = send(started)
        assert (answer.status_code, answer.json()["type"], answer.headers["Retry-After"]) == (status, "TheHosts", "7")
        assert sum(len(host.requests) for host in hosts) == 1


def test_without_a_ready_host_callers_are_told_when_to_come_again(hosts: list[Host], tmp_path: Path) -> None:
    for host in hosts:
        host.is_ready = False
    with before(hosts, tmp_path) as started:
        answer = send(started, X_Request_ID="mine")
        assert_is_error(answer, 503, "ModelUnavailable")
        assert (answer.headers["Retry-After"], answer.headers["X-Request-ID"]) == ("5", "mine")
        assert requests.get(f"{started.url}/readyz", timeout=ANSWER_S).status_code == 503
        hosts[0].is_ready = True
        assert wait_until(lambda: requests.get(f"{started.url}/readyz", timeout=ANSWER_S).status_code == 200, 5)


def test_what_waits_too_long_for_a_host_is_refused(hosts: list[Host], tmp_path: Path) -> None:
    for host in hosts:
        host.answers_now.clear()
    with before(hosts, tmp_path, "maxconn 1") as started, ThreadPoolExecutor(3) as threads:
        sent = [threads.submit(send, started) for _ in range(3)]
        refused = next(as_completed(sent)).result()
        assert_is_error(refused, 503, "Overloaded")
        assert refused.headers["Retry-After"] == "1"
        for host in hosts:
            host.answers_now.set()
        assert sorted(answer.result().status_code for answer in sent) == [200, 200, 503]


def test_a_reload_loses_nothing(hosts: list[Host], tmp_path: Path) -> None:
    with before(hosts, tmp_path) as started, ThreadPoolExecutor(8) as threads, requests.Session() as session:

        def keep_sending(_: int) -> Counter[int]:
            seen: Counter[int] = Counter()
            while not over.is_set():
                seen[session.post(started.url, data=PICTURE, timeout=ANSWER_S).status_code] += 1
            return seen

        over = Event()
        sending = threads.map(keep_sending, range(8))
        try:
            for _ in range(3):
                (before_it,) = started.process.children()
                started.process.send_signal(signal.SIGUSR2)
                assert psutil.wait_procs([before_it], ANSWER_S)[0]
        finally:
            over.set()
        assert set(sum(sending, Counter[int]())) == {200}


def test_a_host_is_drained_while_it_works_on(hosts: list[Host], tmp_path: Path) -> None:
    for host in hosts:
        host.answers_now.clear()
    with before(hosts, tmp_path) as started, ThreadPoolExecutor(2) as threads:
        at_work = [threads.submit(send, started) for _ in range(2)]
        assert wait_until(lambda: all(host.requests for host in hosts), 5)
        started.command("set server marserve/one state drain")
        hosts[1].answers_now.set()
        assert {label(send(started)) for _ in range(6)} == {"two"}
        hosts[0].answers_now.set()
        assert {label(sent.result()) for sent in at_work} == {"one", "two"}
        started.command("set server marserve/one state ready")
        assert wait_until(lambda: started.is_in_rotation("one"), 5)
        assert Counter(label(send(started)) for _ in range(6)) == {"one": 3, "two": 3}


def test_a_canary_gets_its_share_and_what_it_fails_is_answered(hosts: list[Host], tmp_path: Path) -> None:
    canary = hosts[1]
    canary.name = "canary"
    canary.answers = [Answer(content=classification("canary"))]
    lines = [f"one {hosts[0].address} {QUICK}", f"canary {canary.address} {QUICK} weight 0"]
    with proxy(tmp_path, lines) as started:
        assert started.command("experimental-mode on; set var proc.canary int(0)").strip() == ""
        assert {label(send(started)) for _ in range(20)} == {"one"}
        started.command("experimental-mode on; set var proc.canary int(50)")
        seen = Counter(label(send(started)) for _ in range(40))
        assert 8 <= seen["canary"] <= 32
        canary.answers = [Answer(breaks=True)]
        assert {label(send(started)) for _ in range(20)} == {"one"}
        canary.is_ready = False
        assert wait_until(lambda: not started.is_in_rotation("canary"), 5)
        assert {label(send(started)) for _ in range(20)} == {"one"}


def test_whoever_leaves_is_not_computed_for(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(ANSWER_S)
        with proxy(tmp_path, [f"one 127.0.0.1:{listening.getsockname()[1]} no-check"]) as started:
            with connected(started) as caller:
                caller.sendall(b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
                host, _ = listening.accept()
                host.settimeout(ANSWER_S)
                received = b""
                while not received.endswith(b"abc"):
                    received += host.recv(65536)
            with host, suppress(ConnectionResetError):
                assert host.recv(65536) == b""
