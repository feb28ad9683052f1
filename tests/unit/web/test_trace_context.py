"""W3C Trace Context: what is taken of it, logged and passed on where nothing is recorded.

The cases are those of the specification's own suite: https://github.com/w3c/trace-context/blob/main/test/test.py
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from marserve.web.logs import FIELDS
from marserve.web.tracing.context import MAX_TRACEPARENT_LENGTH, read_context
from tests.unit.web.fake_torchserve import FakeTorchServe
from tests.unit.web.service import Service
from tests.unit.web.test_dispatching import Gate, start, waiting

TRACE, SPAN = "12345678901234567890123456789012", "1234567890123456"
PARENT = f"00-{TRACE}-{SPAN}-01"


def read(*headers: tuple[str, str]) -> str | None:
    """What is passed on: traceparent, and tracestate behind it."""
    context = read_context([(name.encode(), value.encode("latin-1")) for name, value in headers])
    return None if context is None else " ".join(context.headers().values())


@pytest.mark.parametrize(
    ("given", "passed_on"),
    [
        (PARENT, PARENT),
        (f"00-{TRACE}-{SPAN}-00", f"00-{TRACE}-{SPAN}-00"),
        (f" \t{PARENT}\t ", PARENT),
        # Of flags those with a meaning: sampled, and that the trace's id is random.
        (f"00-{TRACE}-{SPAN}-03", f"00-{TRACE}-{SPAN}-03"),
        (f"00-{TRACE}-{SPAN}-ff", f"00-{TRACE}-{SPAN}-03"),
        # Later versions begin as this one does; what is sent on is of this one.
        (f"cc-{TRACE}-{SPAN}-01", PARENT),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like", PARENT),
        (f"01-{TRACE}-{SPAN}-01-", PARENT),
    ],
)
def test_a_context_is_passed_on(given: str, passed_on: str) -> None:
    assert read(("traceparent", given)) == passed_on


@pytest.mark.parametrize(
    "given",
    [
        *("", "00", "-", "---", TRACE, f"{TRACE}-{SPAN}"),
        # Version.
        *(f"{version}-{TRACE}-{SPAN}-01" for version in ("ff", "0", "000", ".0", "0.", "FE", "x0")),
        *(f"00-{TRACE}-{SPAN}-01{more}" for more in (".", "-what-the-future-will-be-like", "-", " -")),
        f"cc-{TRACE}-{SPAN}-01.what-the-future-will-be-like",
        # Trace.
        *(
            f"00-{trace}-{SPAN}-01"
            for trace in ("0" * 32, f".{TRACE[1:]}", f"{TRACE[1:]}.", f"{TRACE}3", TRACE[1:], "A" * 32, "")
        ),
        # Span.
        *(
            f"00-{TRACE}-{span}-01"
            for span in ("0" * 16, f".{SPAN[1:]}", f"{SPAN[1:]}.", f"{SPAN}7", SPAN[1:], "A" * 16, "")
        ),
        # Flags.
        *(f"00-{TRACE}-{SPAN}{flags}" for flags in ("-.0", "-0.", "-001", "-1", "-0A", "-", "")),
        # Other characters, and whatever else.
        *(PARENT.replace("3", digit) for digit in ("\xb3", "\x00", "é")),
        PARENT.replace("-", "_"),
        f"{PARENT},{PARENT}",
        f"cc-{TRACE}-{SPAN}-01-{'x' * MAX_TRACEPARENT_LENGTH}",
    ],
)
def test_an_invalid_context_is_none(given: str) -> None:
    assert read(("traceparent", given), ("tracestate", "foo=1")) is None


def test_of_two_contexts_none_counts() -> None:
    assert read(("traceparent", PARENT), ("traceparent", PARENT)) is None
    assert read(("tracestate", "foo=1")) is None


LONG_KEY, LONG_TENANT, LONG_SYSTEM = "a" + "b" * 255, "1" + "t" * 240, "s" + "y" * 13


@pytest.mark.parametrize(
    ("given", "passed_on"),
    [
        (["foo=1,bar=2"], "foo=1,bar=2"),
        (["foo=1", "bar=2,rojo=1", "congo=2"], "foo=1,bar=2,rojo=1,congo=2"),
        (["foo=1 \t , \t bar=2, \t baz=3"], "foo=1,bar=2,baz=3"),
        (["", "foo=1", ""], "foo=1"),
        (["foo=1,,bar=2,"], "foo=1,bar=2"),
        ([""], ""),
        (["a-z0-9/*_=" + "".join(map(chr, [*range(0x20, 0x2C), *range(0x2D, 0x3D), *range(0x3E, 0x7F)]))], None),
        ([f"{LONG_KEY}=1,{LONG_TENANT}@{LONG_SYSTEM}=2"], None),
        ([f"foo={'v' * 256}"], None),
        ([",".join(f"k{number}=1" for number in range(32))], None),
    ],
)
def test_a_state_is_passed_on(given: list[str], passed_on: str | None) -> None:
    expected = given[0] if passed_on is None else passed_on
    assert read(("traceparent", PARENT), *(("tracestate", line) for line in given)) == f"{PARENT} {expected}".strip()


@pytest.mark.parametrize(
    "given",
    [
        *("foo", "foo=", "=1", "foo=1=2", "foo =1", "FOO=1", "foo.bar=1", "0=1", "foo=bär", "foo=1\x01"),
        *("foo@=1,bar=2", "@foo=1,bar=2", "foo@@bar=1,bar=2", "foo@bar@baz=1,bar=2"),
        *(f"{LONG_KEY}c=1", f"{LONG_TENANT}t@v=1", f"t@{LONG_SYSTEM}y=1", f"foo={'v' * 257}"),
        *("foo=1,foo=1", "foo=1,foo=2"),
        ",".join(f"k{number}=1" for number in range(33)),
        ",".join(f"k{number}={'v' * 250}" for number in range(20)),
    ],
)
def test_an_invalid_state_is_left_out_and_the_rest_passed_on(given: str) -> None:
    assert read(("traceparent", PARENT), ("tracestate", given)) == PARENT


def lines_of(caplog: pytest.LogCaptureFixture, name: str = "web.access") -> list[dict[str, Any]]:
    return [getattr(record, FIELDS) for record in caplog.records if record.name == name]


@pytest.mark.anyio
async def test_a_callers_trace_is_in_the_log_and_reaches_torchserve(
    service: Service, torchserve: FakeTorchServe, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    caplog.clear()
    headers = {"traceparent": PARENT, "tracestate": "vendor=value"}
    answer = await service.post("/classify", b"a picture", headers=headers)
    assert answer.status == 200
    (line,) = lines_of(caplog)
    assert (line["trace_id"], line["span_id"]) == (TRACE, SPAN)
    assert list(line)[:3] == ["request_id", "trace_id", "span_id"]
    assert {name: torchserve.headers[0].get(name) for name in headers} == headers
    assert not {"traceparent", "tracestate", "traceresponse"} & {name.lower() for name in answer.headers}


@pytest.mark.anyio
@pytest.mark.parametrize("headers", [{}, {"traceparent": f"ff-{TRACE}-{SPAN}-01", "tracestate": "vendor=value"}])
async def test_without_a_context_nothing_is_made_up(
    service: Service, torchserve: FakeTorchServe, caplog: pytest.LogCaptureFixture, headers: dict[str, str]
) -> None:
    caplog.set_level("INFO")
    caplog.clear()
    assert (await service.post("/classify", b"a picture", headers=headers)).status == 200
    (line,) = lines_of(caplog)
    assert not {"trace_id", "span_id"} & set(line)
    assert not {"traceparent", "tracestate"} & {name.lower() for name in torchserve.headers[0]}


@pytest.mark.anyio
async def test_a_group_goes_with_the_first_context_of_its_pictures(
    service: Service, torchserve: FakeTorchServe
) -> None:
    gate = Gate(torchserve)
    first = await gate.fill(service)
    tasks = start(service, b"has none")
    await waiting(service, 1)
    tasks += start(service, b"has one", headers={"traceparent": PARENT})
    await waiting(service, 2)
    tasks += start(service, b"has another", headers={"traceparent": PARENT.replace("1", "2")})
    await waiting(service, 3)
    gate.opened.set()
    assert {answer.status for answer in await asyncio.gather(*first, *tasks)} == {200}
    assert torchserve.groups[2:] == [3]
    assert {headers.get("traceparent") for headers in torchserve.headers[2:]} == {PARENT}


@pytest.mark.anyio
async def test_a_pipelined_request_is_no_part_of_the_trace_before_it(
    service: Service, torchserve: FakeTorchServe
) -> None:
    def request(picture: bytes, *headers: str) -> bytes:
        lines = ["POST /classify HTTP/1.1", "Host: x", f"Content-Length: {len(picture)}", *headers]
        return "\r\n".join([*lines, "", ""]).encode() + picture

    first = request(b"of a trace", f"traceparent: {PARENT}")
    answers = await service.talk(first + request(b"of no trace", "Connection: close"))
    assert answers.count(b" 200 ") == 2
    assert [headers.get("traceparent") for headers in torchserve.headers] == [PARENT, None]
