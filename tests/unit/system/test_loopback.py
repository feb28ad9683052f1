"""Requests to this machine, and its ports."""

from __future__ import annotations

import socket

import pytest

from marserve.system.loopback import LOOPBACK, free_ports, is_free, reachable_address, request
from tests.unit.fake_server import Answer, FakeServer, server

__all__ = ["server"]


def port_of(server: FakeServer) -> int:
    return int(server.url.rpartition(":")[2])


def test_a_request_carries_what_it_is_given(server: FakeServer) -> None:
    reply = request("POST", port_of(server), "/x", token="t", body=b"picture", headers={"X-Top-K": "3"})  # noqa: S106
    assert reply is not None
    assert reply.status == 200
    (received,) = server.requests
    assert (received.method, received.path, received.body) == ("POST", "/x", b"picture")
    assert received.headers["Authorization"] == "Bearer t"
    assert received.headers["X-Top-K"] == "3"
    assert received.headers["Content-Type"] == "application/octet-stream"


def test_a_refusal_is_a_reply(server: FakeServer) -> None:
    server.answers = [Answer(503, "busy")]
    reply = request("GET", port_of(server), "/")
    assert reply is not None
    assert (reply.status, reply.body) == (503, b'"busy"')


def test_no_proxy_is_used(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://{LOOPBACK}:{free_ports(1)[0]}")
    assert request("GET", port_of(server), "/") is not None


@pytest.mark.parametrize("answer", [Answer(breaks=True), Answer(after_s=1)], ids=["broken", "late"])
def test_nobody_who_answers_in_time_gives_none(server: FakeServer, answer: Answer) -> None:
    server.answers = [answer]
    assert request("GET", port_of(server), "/", timeout_s=0.2) is None
    assert request("GET", free_ports(1)[0], "/") is None


def test_free_ports_differ_and_are_free() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert is_free(ports[0])


def test_a_port_on_which_something_listens_is_not_free() -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        assert not is_free(taken.getsockname()[1])


@pytest.mark.parametrize(
    ("host", "address"),
    [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("192.0.2.7", "192.0.2.7")],  # noqa: S104
)
def test_a_service_is_reached_where_it_listens(host: str, address: str) -> None:
    assert reachable_address(host) == address
