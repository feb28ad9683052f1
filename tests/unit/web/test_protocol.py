"""Callers that hardly speak HTTP."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable

import pytest

from marserve.web import protocol
from marserve.web.transport import WholeAnswers
from tests.cases.addresses import WIRES
from tests.unit.web.fake_torchserve import FakeTorchServe
from tests.unit.web.service import Service

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEADERS_DEADLINE_S", 0.3)


#: A request after which the connection is closed.
END = b"GET /healthz HTTP/1.0\r\n\r\n"
REQUEST = b"GET /healthz HTTP/1.1\r\nHost: a\r\n"


@pytest.mark.parametrize(
    ("pieces", "answers"),
    [
        pytest.param([], 0, id="silence"),
        pytest.param([REQUEST], 0, id="headers without an end"),
        pytest.param([REQUEST, b"\r\n", REQUEST], 1, id="second headers without an end"),
    ],
)
async def test_connection_without_whole_headers_is_closed(service: Service, pieces: list[bytes], answers: int) -> None:
    answer = await service.talk(*pieces)
    assert answer.count(b"HTTP/1.1 200") == answers


async def test_slow_answer_is_not_cut_off_by_the_deadline_of_the_headers(service: Service) -> None:
    async def slow_body() -> AsyncIterator[bytes]:
        yield b"picture"
        await asyncio.sleep(0.6)
        yield b" and its end"

    assert (await service.post("/predict", slow_body())).status == 200


async def test_what_is_no_http_is_answered_in_the_one_shape(service: Service) -> None:
    answer = await service.talk(b"\x16\x03\x01 this is TLS\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body)["type"] == "InvalidRequest"


async def test_small_answers_are_not_delayed_by_nagle(service: Service) -> None:
    """uvicorn's sockets for several workers lack TCP_NODELAY, at some 40 ms a request; ours must have it."""
    seen = []
    original = protocol.PatientProtocol.connection_made

    def look(self: protocol.PatientProtocol, transport: asyncio.Transport) -> None:
        connection = transport.get_extra_info("socket")
        seen.append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        original(self, transport)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(protocol.PatientProtocol, "connection_made", look)
        await service.talk(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert seen
    assert all(seen)


async def test_picture_arrives_however_its_client_writes_http(service: Service) -> None:
    answers = {
        name: await service.talk(wire + (END if b" HTTP/1.1\r\n" in wire else b"")) for name, wire in WIRES.items()
    }
    assert not [(name, answer) for name, answer in answers.items() if b"label" not in answer or b"HTTP/1.1 4" in answer]


async def test_offer_of_another_protocol_loses_nothing_that_comes_with_it(
    service: Service, torchserve: FakeTorchServe
) -> None:
    request = WIRES["offers HTTP/2, as Java"]
    whole = request.replace(b"picture", b"one one") + request.replace(b"picture", b"two two") + END
    for cut in (len(whole), 1, 20, request.index(b"picture"), len(request) - 3, len(request) + 5):
        assert (await service.talk(whole[:cut], whole[cut:])).count(b"HTTP/1.1 200 ") == 3
    assert {b"one one", b"two two"} == set(torchserve.pictures)


async def test_many_offers_at_once_are_no_burden(service: Service) -> None:
    offer = b"GET /healthz HTTP/1.1\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"
    answer = await service.talk(offer * 2000 + END)
    assert answer.count(b"HTTP/1.1 200 ") == 2001


async def test_body_too_large_is_refused_before_it_is_sent(service: Service) -> None:
    head = b"PUT /predict HTTP/1.1\r\nconnection: close\r\nexpect: 100-continue\r\ncontent-length: 999999999\r\n\r\n"
    assert (await service.talk(head)).startswith(b"HTTP/1.1 413 ")


async def test_an_answer_is_one_piece(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each piece is a system call, which wakes the caller."""
    pieces: list[bytes] = []

    class Recorded(WholeAnswers):
        def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
            super().__init__(transport, close)
            self._transport = self  # type: ignore[assignment]
            self._socket = transport

        def writelines(self, given: list[bytes]) -> None:
            pieces.append(b"".join(given))
            self._socket.write(pieces[-1])

        def close(self) -> None:
            self.flush()
            self._socket.close()

    monkeypatch.setattr(protocol, "WholeAnswers", Recorded)
    head = b" / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
    posted = b"POST /predict HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 7\r\nconnection: close\r\n\r\n"
    assert (await service.talk(b"GET" + head)).endswith(b"</html>\n")
    assert (await service.talk(b"HEAD" + head)).endswith(b"\r\n\r\n")
    assert b"label" in await service.talk(posted, b"picture")
    assert [piece[:13] for piece in pieces] == [b"HTTP/1.1 200 "] * 2 + [b"HTTP/1.1 100 ", b"HTTP/1.1 200 "]
