"""Callers that mean harm: none holds a connection, memory or somebody else's answer."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest

from marserve.web import protocol
from tests.unit.web.fake_torchserve import FakeTorchServe
from tests.unit.web.service import Service, until

pytestmark = pytest.mark.anyio

REQUEST = b"GET /healthz HTTP/1.1\r\nHost: a\r\n"
WHOLE = REQUEST + b"\r\n"
PICTURE = b"POST /predict HTTP/1.1\r\nHost: a\r\n"
LAST = b"GET /healthz HTTP/1.0\r\n\r\n"
TOO_MUCH = b"a" * (protocol.MAX_HEAD_BYTES + 1)
#: More than is read at once.
FAR_TOO_MUCH = 8 * TOO_MUCH


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HEADERS_DEADLINE_S", "REST_DEADLINE_S", "WRITE_DEADLINE_S"):
        monkeypatch.setattr(protocol, name, 0.3)


def statuses(answer: bytes) -> list[int]:
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(REQUEST + b"X: " + TOO_MUCH + b"\r\n\r\n", id="a header"),
        pytest.param(REQUEST + b"X: " + FAR_TOO_MUCH, id="a header without an end"),
        pytest.param(REQUEST + b"X: y\r\n" * 40_000 + b"\r\n", id="many headers"),
        pytest.param(b"GET /" + TOO_MUCH + b" HTTP/1.1\r\n\r\n", id="an address"),
        pytest.param(b"GET /" + FAR_TOO_MUCH, id="an address without an end"),
    ],
)
async def test_a_head_that_is_too_large_is_refused_however_it_arrives(service: Service, head: bytes) -> None:
    half = len(head) // 2
    for pieces in ([head], [head[:half], head[half:]], [WHOLE + head]):
        answer = await service.talk(*pieces)
        assert statuses(answer)[-1] == 431
        assert json.loads(answer.rpartition(b"\r\n\r\n")[2])["type"] == "HeadTooLarge"


async def test_a_head_that_is_just_small_enough_is_taken_with_a_large_body(
    service: Service, torchserve: FakeTorchServe
) -> None:
    picture = b"picture" * 100_000
    head = PICTURE + b"X: " + b"a" * (protocol.MAX_HEAD_BYTES - 100) + b"\r\nContent-Length: %d\r\n\r\n" % len(picture)
    assert statuses(await service.talk(head + picture + LAST)) == [200, 200]
    assert torchserve.pictures == [picture]


@pytest.mark.parametrize("beginning", [b"3;", b"3\r\nabc\r\n0\r\nX: ", b"3\r\nabc\r\n0\r\n" + b"X: y\r\n" * 90_000])
async def test_what_stands_around_chunks_has_an_end(service: Service, beginning: bytes) -> None:
    answer = await service.talk(PICTURE + b"Transfer-Encoding: chunked\r\n\r\n" + beginning + FAR_TOO_MUCH)
    assert statuses(answer) == [431]


async def test_what_follows_the_last_chunk_is_no_header(service: Service) -> None:
    """A proxy in front has judged the headers, and passes on what follows the chunks unseen."""
    request = REQUEST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-Request-ID: forged\r\n\r\n"
    answer = await service.talk(request + LAST)
    assert statuses(answer) == [200, 200]
    assert b"forged" not in answer


async def test_a_picture_in_tiny_chunks_arrives_whole(service: Service, torchserve: FakeTorchServe) -> None:
    picture = bytes(range(256)) * 400
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in picture)
    answer = await service.talk(PICTURE + b"Transfer-Encoding: chunked\r\n\r\n", chunks, b"0\r\n\r\n" + LAST)
    assert statuses(answer) == [200, 200]
    assert torchserve.pictures == [picture]


async def test_a_length_with_thousands_of_zeros_is_a_number(service: Service, torchserve: FakeTorchServe) -> None:
    length = b"Content-Length: " + b"0" * 5000 + b"7\r\n\r\n"
    assert statuses(await service.talk(PICTURE + length + b"picture" + LAST)) == [200, 200]
    assert torchserve.pictures == [b"picture"]


async def test_whoever_never_sends_the_rest_of_an_answered_body_is_not_waited_for(service: Service) -> None:
    body = b"POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"
    assert statuses(await service.talk(body, b"a", b"b")) == [404]


async def test_the_rest_of_an_answered_body_is_passed_over_and_the_next_request_answered(service: Service) -> None:
    reader, writer = await connect(service)
    writer.write(b"POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n")
    assert statuses(await reader.readuntil(b"}")) == [404]
    await asyncio.sleep(0.1)
    writer.write(b"123456789")
    await asyncio.sleep(0.4)  # longer than the rest had time: it has arrived
    writer.write(LAST)
    assert statuses(await reader.read()) == [200]
    writer.close()


async def test_empty_lines_keep_no_connection_open(service: Service) -> None:
    reader, writer = await connect(service)
    writer.write(WHOLE)
    assert statuses(await reader.readuntil(b"}")) == [200]
    writer.write(b"\r\n")
    assert await reader.read() == b""
    writer.close()


async def test_whoever_takes_no_answer_loses_the_connection(service: Service) -> None:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)
    loop = asyncio.get_running_loop()
    with connection:
        await loop.sock_connect(connection, address_of(service))
        request = b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n"

        async def is_gone() -> bool:
            try:
                connection.send(request * 20)
            except BlockingIOError:
                return False
            except OSError:
                return True
            return False

        await until(is_gone)


async def test_whoever_takes_an_answer_slowly_gets_all_of_it(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "WRITE_DEADLINE_S", 1.0)
    reader, writer = await connect(service)
    writer.write(b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n" * 60 + LAST)
    answer = b""
    while piece := await reader.read(200_000):
        answer += piece
        await asyncio.sleep(0.05)
    assert statuses(answer) == [200] * 61
    writer.close()


CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"\r\n7\r\npicture\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(PICTURE + b"Content-Length: 7\r\n" + CHUNKED + CHUNKS, id="both lengths"),
        pytest.param(PICTURE + CHUNKED + b"Content-Length: 7\r\n" + CHUNKS, id="both lengths, the other way round"),
        pytest.param(PICTURE + b"Content-Length: 7\r\nContent-Length: 7\r\n\r\npicture", id="two lengths"),
        pytest.param(PICTURE + b"Content-Length: 7, 7\r\n\r\npicture", id="two lengths in one"),
        pytest.param(PICTURE + b"Content-Length: +7\r\n\r\npicture", id="a sign"),
        pytest.param(PICTURE + b"Transfer-Encoding: gzip, chunked\r\n" + CHUNKS, id="compressed"),
        pytest.param(PICTURE + b"Transfer-Encoding: identity\r\n" + CHUNKED + CHUNKS, id="two codings"),
        pytest.param(PICTURE + CHUNKED + CHUNKED + CHUNKS, id="chunked twice"),
        pytest.param(PICTURE + b"Transfer-Encoding: xchunked\r\n" + CHUNKS, id="unknown coding"),
        pytest.param(PICTURE + b"Transfer-Encoding : chunked\r\n" + CHUNKS, id="a space before the colon"),
        pytest.param(PICTURE + b"Transfer-Encoding:\x0bchunked\r\n" + CHUNKS, id="a vertical tab"),
        pytest.param(PICTURE + b"X: y\r\n Transfer-Encoding: chunked\r\n" + CHUNKS, id="a folded line"),
        pytest.param(PICTURE + b"X: y\n" + CHUNKED + CHUNKS, id="a bare line feed"),
        pytest.param(PICTURE + b"X: y\r" + CHUNKED + CHUNKS, id="a bare carriage return"),
        pytest.param(PICTURE.replace(b"/1.1", b"/1.0") + CHUNKED + CHUNKS, id="chunks in HTTP/1.0"),
        pytest.param(PICTURE + CHUNKED + b"\r\n7\npicture\r\n0\r\n\r\n", id="a bare line feed after a chunk's size"),
        pytest.param(PICTURE + CHUNKED + b"\r\n0x7\r\npicture\r\n0\r\n\r\n", id="a chunk's size with 0x"),
        pytest.param(PICTURE + CHUNKED + b"\r\n-7\r\npicture\r\n0\r\n\r\n", id="a negative chunk"),
        pytest.param(PICTURE + CHUNKED + b"\r\nffffffffffffffff7\r\npicture\r\n0\r\n\r\n", id="an endless chunk"),
        pytest.param(PICTURE + CHUNKED + b"\r\n7\r\npictures\r\n0\r\n\r\n", id="a chunk that is longer than it says"),
        pytest.param(PICTURE + b"Host: b\r\nContent-Length: 7\r\n\r\npicture", id="two hosts"),
    ],
)
async def test_what_two_readers_could_understand_differently_is_refused(
    service: Service, torchserve: FakeTorchServe, request_: bytes
) -> None:
    smuggled = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"
    answer = await service.talk(request_ + smuggled)
    assert statuses(answer) == [400]
    assert torchserve.pictures == []


async def test_answers_stay_in_order_where_the_last_request_cannot_be_read(
    service: Service, torchserve: FakeTorchServe
) -> None:
    answer_one = torchserve.behaviour

    async def slowly(*request: object) -> object:
        await asyncio.sleep(0.2)
        return await answer_one(*request)  # type: ignore[arg-type]

    torchserve.behaviour = slowly  # type: ignore[assignment]
    picture = PICTURE + b"Content-Length: 7\r\n\r\npicture"
    for broken in (b"garbage\r\n\r\n", PICTURE + CHUNKED + b"\r\nno number\r\n"):
        for between in (b"", WHOLE):
            answer = await service.talk(picture + between + broken)
            assert statuses(answer) == [200, *([200] if between else []), 400]


def address_of(service: Service) -> tuple[str, int]:
    host, port = service.url.removeprefix("http://").split(":")
    return host, int(port)


async def connect(service: Service) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(*address_of(service))
