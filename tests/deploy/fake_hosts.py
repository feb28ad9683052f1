"""Web services that do as they are told, behind deploy/haproxy."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Event
from urllib.parse import urlsplit

import pytest
import requests

from marserve.system.waiting import wait_until
from tests.certificates import make_pair
from tests.deploy.proxy import Proxy, proxy
from tests.unit.fake_server import Answer, FakeServer, Request, classification

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
        #: Cleared, answers wait, those of /readyz apart.
        self.answers_now = Event()
        self.answers_now.set()
        self.answers = [Answer(content=classification(name))]

    def take(self, request: Request) -> Answer:
        if request.path == "/readyz":
            with self._lock:
                self._at_work += 1
            return Answer(200 if self.is_ready else 503, {})
        answer = super().take(request)
        self.answers_now.wait(ANSWER_S)
        return answer

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


def pem(directory: Path) -> Path:
    """A certificate and its key, as haproxy takes them."""
    pair = make_pair(directory)
    both = directory / "both.pem"
    both.write_text(pair.certificate.read_text() + pair.key.read_text())
    return both
