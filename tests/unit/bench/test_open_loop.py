"""Each request is sent when it is due, its time counts from then on, and whatever gets no answer is a failure."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

from bench.errors import BenchError
from bench.open_loop import run_open_loop
from bench.target import BodyFormat, Target
from bench.wrk import write_requests
from marserve.plan.generator import CONNECTION, CONNECTIONS_USED_UP, TIMEOUT, Generator
from marserve.plan.load import MOST_LAG_MS, OpenLoad, read_requests

REQUESTS = [b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n\r\n%02d" % number for number in range(5)]
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n[\r\n1\r\n]\r\n0\r\n\r\n"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n" + ANSWER
CLOSING = b"HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
UNTIL_CLOSED = b"HTTP/1.1 200 OK\r\n\r\n[]"

Answering = Callable[[int, asyncio.StreamWriter], Awaitable[None]]


def answer_with(*pieces: bytes, then_close: bool = False) -> Answering:
    """To each request, piece by piece."""

    async def answer(_: int, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0.001)
        if then_close:
            writer.close()

    return answer


def run(answer: Answering, due: list[float], **limits: float) -> tuple[Generator, list[bytes]]:
    """All requests that are ``due``, against a server that answers so; what it was sent."""
    bodies: list[bytes] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while not writer.is_closing():
                await reader.readuntil(b"\r\n\r\n")
                bodies.append(await reader.readexactly(2))
                await answer(len(bodies), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client went
        finally:
            writer.close()

    async def both() -> Generator:
        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            generator = Generator(port, REQUESTS, due, **limits)  # type: ignore[arg-type]
            await generator.run()
        return generator

    return uvloop.run(both()), bodies


@pytest.mark.parametrize(
    ("answer", "status", "connections"),
    [
        (answer_with(ANSWER), 200, 1),
        (answer_with(ANSWER[:20], ANSWER[20:40], ANSWER[40:]), 200, 1),
        (answer_with(CHUNKED), 200, 1),
        (answer_with(CHUNKED[:50], CHUNKED[50:]), 200, 1),
        (answer_with(INTERIM), 200, 1),
        (answer_with(CLOSING, then_close=True), 503, 2),
        (answer_with(UNTIL_CLOSED, then_close=True), 200, 2),
    ],
)
def test_every_kind_of_answer_is_read_to_its_end(answer: Answering, status: int, connections: int) -> None:
    generator, bodies = run(answer, [0.02, 0.4])
    assert generator.status == [status] * 2
    assert generator.failures == {}
    assert generator.connections == connections
    assert bodies == [b"00", b"01"]
    times = zip([0.02, 0.4], generator.sent, generator.answered, strict=True)
    assert all(due <= sent <= answered for due, sent, answered in times)


def test_slow_answer_delays_no_other_request() -> None:
    others_are_answered = asyncio.Event()

    async def first_is_slow(number: int, writer: asyncio.StreamWriter) -> None:
        if number == 1:
            await others_are_answered.wait()
        writer.write(ANSWER)
        if number == 10:
            others_are_answered.set()

    generator, _ = run(first_is_slow, [0.01 * number for number in range(1, 11)])
    assert generator.status == [200] * 10
    assert generator.connections >= 2


def test_stalled_server_is_late_for_everyone_who_was_due_meanwhile() -> None:
    """What a generator that waits for its answers would leave out."""
    go_on = asyncio.Event()

    async def stall(number: int, writer: asyncio.StreamWriter) -> None:
        if number == 1:
            asyncio.get_running_loop().call_later(0.3, go_on.set)
        await go_on.wait()
        writer.write(ANSWER)

    due = [0.01 * number for number in range(1, 21)]
    generator, _ = run(stall, due)
    late = [answered - at > 0.05 for at, answered in zip(due, generator.answered, strict=True)]
    assert all(late)


@pytest.mark.parametrize(
    ("answer", "limits", "reason"),
    [
        (answer_with(), {"give_up_s": 0.1}, TIMEOUT),
        (answer_with(then_close=True), {}, CONNECTION),
        (answer_with(b"nonsense\r\n\r\n"), {}, CONNECTION),
        (answer_with(ANSWER[:-1], then_close=True), {}, CONNECTION),
    ],
)
def test_request_without_an_answer_is_a_failure_with_its_reason(
    answer: Answering, limits: dict[str, float], reason: str
) -> None:
    generator, _ = run(answer, [0.01, 0.02, 0.03], **limits)
    assert generator.status == [0, 0, 0]
    assert generator.failures == {reason: 3}


def test_what_would_need_more_connections_is_the_generators_failure_and_not_delayed() -> None:
    async def slow(_: int, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.4)
        writer.write(ANSWER)

    generator, bodies = run(slow, [0.01, 0.02, 0.03], most_connections=2)
    assert generator.failures == {CONNECTIONS_USED_UP: 1}
    assert generator.status == [200, 200, 0]
    assert len(bodies) == 2


def test_request_that_meets_a_closing_connection_is_sent_again() -> None:
    async def close_after_one(number: int, writer: asyncio.StreamWriter) -> None:
        if number != 2:
            writer.write(ANSWER)
        else:
            writer.close()

    generator, bodies = run(close_after_one, [0.01, 0.4, 0.8])
    assert generator.status == [200, 200, 200]
    assert bodies == [b"00", b"01", b"01", b"02"]


def test_nobody_listening_is_a_failed_connection() -> None:
    async def alone() -> Generator:
        generator = Generator(9, REQUESTS, [0.01])  # the port "discard"
        await generator.run()
        return generator

    assert uvloop.run(alone()).failures == {CONNECTION: 1}


def test_process_sends_the_pictures_in_turn_with_the_deadline(tmp_path: Path) -> None:
    heads: list[bytes] = []
    bodies: list[bytes] = []
    pictures = [b"\xff\xd8" + bytes([number]) * 50_000 for number in range(4)]
    form = BodyFormat("multipart")

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                heads.append(await reader.readuntil(b"\r\n\r\n"))
                bodies.append(await reader.readexactly(len(form.encode(pictures[0])[0])))
                writer.write(ANSWER)
        except asyncio.IncompleteReadError:
            writer.close()

    async def both() -> OpenLoad:
        server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=2**20)
        async with server:
            target = Target(server.sockets[0].getsockname()[1], "/predict?top_k=5", form, {"Authorization": "Bearer x"})
            write_requests(tmp_path, target, pictures)
            due = [0.01 * number for number in range(1, 9)]
            return await asyncio.to_thread(run_open_loop, target, tmp_path, due, first=3, deadline_ms=100)

    load = uvloop.run(both())
    assert bodies == [form.encode(pictures[(3 + number) % 4])[0] for number in range(8)]
    assert all(head.startswith(b"POST /predict?top_k=5 HTTP/1.1\r\n") for head in heads)
    assert all(b"X-Request-Timeout-Ms: 100\r\n" in head and b"Authorization: Bearer x\r\n" in head for head in heads)
    assert load.within(2000) == 8
    assert load.cpu_s > 0
    assert load.seconds == pytest.approx(0.08)


def test_process_that_fails_is_an_error_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="head"):
        run_open_loop(Target(9, "/", BodyFormat()), tmp_path, [0.01])


def test_answers_count_from_when_they_were_due_and_a_late_generator_makes_the_run_invalid() -> None:
    load = OpenLoad((0.1, 0.2, 0.3), (0.1, 0.2, 0.3), (0.15, 0.45, 0.35), (200, 200, 503), {}, 0.1, 3)
    assert load.latencies_ms() == pytest.approx([50, 250])
    assert (load.within(100), load.within(251)) == (1, 2)
    assert load.is_valid
    late = OpenLoad((0.1,), (0.1 + 2 * MOST_LAG_MS / 1e3,), (0.2,), (200,), {}, 0.1, 1)
    assert late.lag_p99_ms == pytest.approx(2 * MOST_LAG_MS)
    assert not late.is_valid
    assert not OpenLoad((0.1,), (0.1,), (0.0,), (0,), {CONNECTIONS_USED_UP: 1}, 0.1, 1).is_valid


def test_requests_are_put_together_before(tmp_path: Path) -> None:
    write_requests(tmp_path, Target(1, "/p", BodyFormat()), [b"a", b"bb"])
    first, second = read_requests(tmp_path, {"X-Request-Timeout-Ms": "5"})
    assert first.endswith(b"Content-Length: 1\r\n\r\na")
    assert b"X-Request-Timeout-Ms: 5\r\n" in second
    assert second.endswith(b"Content-Length: 2\r\n\r\nbb")


if sys.platform != "linux":
    pytestmark = pytest.mark.skip("The generator's timer is Linux's.")
