"""deploy/haproxy with a real haproxy before hosts that do as they are told."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
import requests
from urllib3.filepost import encode_multipart_formdata

from marserve.system.waiting import wait_until
from marserve.web import errors
from tests.certificates import make_pair
from tests.deploy.proxy import CONFIGURATION, HOSTS, SHIPPED, Proxy, proxy
from tests.deploy.repeated_pictures import Load, measure, web_services
from tests.unit.fake_server import Answer, FakeServer, Request, classification

pytestmark = pytest.mark.needs("haproxy")

#: A photograph's size, and one that is too large to be kept.
PICTURE, LARGE = os.urandom(110_000), os.urandom(400_000)
#: Checks of a test's hosts, quicker than the shipped ones.
QUICK = "inter 100ms fastinter 50ms downinter 100ms"
ANSWER_S = 20


class Host(FakeServer):
    """A web service; what it is asked besides /readyz stands in ``requests``."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.is_ready = True
        self.answers = [Answer(content=classification(name))]

    def take(self, request: Request) -> Answer:
        if request.path == "/readyz":
            with self._lock:
                self._at_work += 1
            return Answer(200 if self.is_ready else 503, {})
        return super().take(request)

    @property
    def address(self) -> str:
        return self.url.removeprefix("http://")


@pytest.fixture
def hosts() -> Iterator[list[Host]]:
    hosts = [Host("one"), Host("two")]
    yield hosts
    for host in hosts:
        host.stop()


def is_as_ready(proxy: Proxy, host: Host) -> bool:
    return proxy.is_in_rotation(host.name) == host.is_ready


@contextmanager
def before(hosts: list[Host], directory: Path, option: str = "", **variables: str) -> Iterator[Proxy]:
    """haproxy before ``hosts``, each with ``option`` in its line, once it has checked them."""
    with proxy(directory, [f"{host.name} {host.address} {QUICK} {option}" for host in hosts], **variables) as started:
        for host in hosts:
            assert wait_until(partial(is_as_ready, started, host), 10)
        yield started


def send(proxy: Proxy, picture: bytes = PICTURE, path: str = "/classify", **headers: str) -> requests.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.post(proxy.url + path, data=picture, headers=named, timeout=ANSWER_S)


def connected(proxy: Proxy) -> socket.socket:
    address = urlsplit(proxy.url)
    return socket.create_connection((str(address.hostname), address.port or 0), ANSWER_S)


def label(response: requests.Response) -> str:
    """The host that answered."""
    assert response.status_code == requests.codes.ok, response.text
    answered: str = response.json()["predictions"][0]["label"]
    return answered


def assert_is_error(response: requests.Response, status: int, kind: str) -> None:
    content = response.json()
    assert (response.status_code, content["code"], content["type"]) == (status, status, kind)
    assert content["error"] == content["message"]
    assert response.headers["Content-Type"] == "application/json"


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


def pem(directory: Path) -> Path:
    """A certificate and its key, as haproxy takes them."""
    pair = make_pair(directory)
    both = directory / "both.pem"
    both.write_text(pair.certificate.read_text() + pair.key.read_text())
    return both


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
    hosts[0].answers = hosts[1].answers = [Answer(content=classification("slow"), after_s=3)]
    with before(hosts, tmp_path) as started, ThreadPoolExecutor(1) as threads:
        slow = threads.submit(send, started)
        assert wait_until(lambda: any(host.requests for host in hosts), 5)
        busy, idle = sorted(hosts, key=lambda host: not host.requests)
        busy.answers, idle.answers = ([Answer(content=classification(host.name))] for host in (busy, idle))
        assert {label(send(started)) for _ in range(10)} == {idle.name}
        assert label(slow.result()) == "slow"


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
    hosts[0].stop()
    hosts[0] = Host("one")


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
    hosts[0].answers = hosts[1].answers = [Answer(content=classification(), after_s=3)]
    with before(hosts, tmp_path, "maxconn 1") as started, ThreadPoolExecutor(3) as threads:
        answers = [sent.result() for sent in [threads.submit(send, started) for _ in range(3)]]
        assert sorted(answer.status_code for answer in answers) == [200, 200, 503]
        refused = next(answer for answer in answers if answer.status_code == 503)
        assert_is_error(refused, 503, "Overloaded")
        assert refused.headers["Retry-After"] == "1"


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
    hosts[0].answers = hosts[1].answers = [Answer(content=classification("slow"), after_s=1.5)]
    with before(hosts, tmp_path) as started, ThreadPoolExecutor(2) as threads:
        at_work = [threads.submit(send, started) for _ in range(2)]
        assert wait_until(lambda: all(host.requests for host in hosts), 5)
        started.command("set server marserve/one state drain")
        for host in hosts:
            host.answers = [Answer(content=classification(host.name))]
        assert {label(send(started)) for _ in range(6)} == {"two"}
        assert {label(sent.result()) for sent in at_work} == {"slow"}
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
def test_https_reaches_to_a_host_whose_certificate_is_trusted(tmp_path: Path) -> None:
    pair = make_pair(tmp_path)
    settings = {"tls_certificate": pair.certificate, "tls_key": pair.key}

    async def answer() -> int:
        async with web_services(1, **settings) as [(_, address)]:
            line = f"one {address} {QUICK} ssl verify required ca-file {pair.certificate}"
            with proxy(tmp_path, [line]) as started:
                assert await asyncio.to_thread(wait_until, partial(started.is_in_rotation, "one"), 10)
                return (await asyncio.to_thread(send, started, b"picture")).status_code

    assert asyncio.run(answer()) == requests.codes.ok


def pictures(count: int) -> list[bytes]:
    return [number.to_bytes(4, "big") * 5000 + b"\xff\r\n\xd8" + os.urandom(100) for number in range(count)]


def as_form(picture: bytes, boundary: str, name: str) -> tuple[bytes, str]:
    return encode_multipart_formdata({"top_k": "3", "file": (name, picture, "image/jpeg")}, boundary)


def forms_of(picture: bytes) -> list[tuple[bytes, dict[str, str]]]:
    """Bodies with their headers, in all of which one picture may come."""
    small, large = as_form(picture, "x7", "a.jpg"), as_form(picture, "----Form" + "y" * 40, "another name.jpeg")
    return [
        (picture, {"Content-Type": "image/jpeg"}),
        (picture, {}),
        (small[0], {"Content-Type": small[1]}),
        (large[0], {"Content-Type": large[1].replace("multipart/form-data", "Multipart/Form-Data")}),
    ]


def answered_by(proxy: Proxy, body: bytes, headers: dict[str, Any]) -> str:
    return label(requests.post(f"{proxy.url}/predict", data=body, headers=headers, timeout=ANSWER_S))


def test_one_picture_goes_to_one_host_however_it_is_sent(hosts: list[Host], tmp_path: Path) -> None:
    with before(hosts, tmp_path, PROXY_AFFINITY="1") as started:
        chosen = []
        for picture in pictures(20):
            seen = {answered_by(started, body, headers) for body, headers in forms_of(picture)}
            assert len(seen) == 1
            chosen.append(seen.pop())
        assert set(chosen) == {"one", "two"}
        assert len({answered_by(started, *form) for form in forms_of(LARGE)}) == 1  # more than the buffer holds


@pytest.mark.parametrize(
    "body", [b"", b"--", b"--x\r\n", b'--x\r\nfilename="', b'--x\r\nfilename="a"\r\n\r\n', b"\r\n\r\n"]
)
def test_a_form_that_is_none_is_some_host_s_to_refuse(body: bytes, hosts: list[Host], tmp_path: Path) -> None:
    with before(hosts, tmp_path, PROXY_AFFINITY="1") as started:
        assert answered_by(started, body, {"Content-Type": "multipart/form-data; boundary=x"}) in {"one", "two"}
        assert "lua" not in started.log.read_text().lower()


def test_a_lost_host_s_share_is_all_that_moves(tmp_path: Path) -> None:
    hosts = [Host("one"), Host("two"), Host("three")]
    shown = pictures(60)
    try:
        with before(hosts, tmp_path, PROXY_AFFINITY="1") as started:
            first = [answered_by(started, picture, {}) for picture in shown]
            assert min(Counter(first).values()) > 5
            hosts[2].is_ready = False
            assert wait_until(lambda: not started.is_in_rotation("three"), 5)
            then = [answered_by(started, picture, {}) for picture in shown]
            assert all(a == b for a, b in zip(first, then, strict=True) if a != "three")
            assert "three" not in then
            hosts[2].is_ready = True
            assert wait_until(lambda: started.is_in_rotation("three"), 5)
            assert [answered_by(started, picture, {}) for picture in shown] == first
    finally:
        for host in hosts:
            host.stop()


def test_with_affinity_a_second_host_adds_its_cache(tmp_path: Path) -> None:
    """With the fewest requests at work as the rule, it keeps what the first one has, too."""
    load = Load(pictures=300, requests=700)
    entries = {"cache_max_entries": 40}
    diluted = asyncio.run(measure(load, 2, tmp_path, {}, entries))
    added = asyncio.run(measure(load, 2, tmp_path, {"PROXY_AFFINITY": "1"}, entries))
    assert diluted.hits + 0.04 < added.hits < load.repeated
    assert min(added.by_host) > 0.25
