"""The bounded form of ``python -m tests.reliability hostile``: some thousand inputs, and a made-up model."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import mmap
import socket
import struct
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import AsyncIterator, Iterator
from functools import partial

import pytest

from tests.reliability.hostile import SEED, fuzzing, wire
from tests.reliability.hostile.fuzzing import Fuzzed
from tests.reliability.hostile.inputs import GENERATORS, chance_of, hostile
from tests.reliability.hostile.readers import READERS
from tests.reliability.hostile.wire import Attack
from tests.support import REPOSITORY
from tests.unit.web.fake_torchserve import FakeTorchServe
from tests.unit.web.service import Service, running_service

#: Some seconds for each row.
BOUNDED = {
    "pictures": 500,
    "forms": 200,
    "json": 400,
    "protocol": 400,
    "groups": 300,
    "archives": 30,
    "weights": 40,
    "labels": 80,
    "configuration": 150,
}
CONNECTIONS = 300
#: All that TorchServe may ever see of a request.
OUR_HEADERS = {"host", "content-type", "content-length", "x-request-id", "x-top-k", "x-class-id", "authorization"}


@pytest.fixture
def quiet() -> Iterator[None]:
    """Each refusal of a library has a warning."""
    logging.disable(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("row", GENERATORS)
@pytest.mark.usefixtures("quiet")
def test_hostile_input_is_read_or_refused_in_words(row: str) -> None:
    outcomes = {READERS[row](hostile(row, SEED, number)) for number in range(BOUNDED[row])}
    assert "refused" in outcomes


def fingerprints() -> dict[str, str]:
    """Of the first inputs of each row."""
    inputs = {row: repr([hostile(row, SEED, number) for number in range(20)]) for row in GENERATORS}
    return {row: hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest() for row, text in inputs.items()}


def test_an_input_with_a_number_is_the_same_in_another_process_at_another_time() -> None:
    here = fingerprints()
    time.sleep(2)  # a zip file counts time in steps of two seconds
    code = "import json; from tests.reliability.test_hostile import fingerprints; print(json.dumps(fingerprints()))"
    there = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True, capture_output=True, text=True)
    assert json.loads(there.stdout) == here


def test_another_seed_gives_other_inputs() -> None:
    for row in GENERATORS:
        assert [hostile(row, 1, number) for number in range(5)] != [hostile(row, 2, number) for number in range(5)]


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("import os; os.abort()", "ended the process that read it"),
        ("import time; time.sleep(60)", "no end within"),
        ("print('{}')", None),
    ],
)
def test_a_reader_that_ends_or_hangs_is_noticed(code: str, what: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzzing, "HUNG_S", 0.5 if what and "end within" in what else 30)
    with tempfile.TemporaryFile() as file:
        file.write(bytes(8))
        file.flush()
        with mmap.mmap(file.fileno(), 8) as at:
            found = fuzzing._read([sys.executable, "-c", code], "", at, Fuzzed())
    assert found is None if what is None else what in (found or "")


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", None),
        (b"HTTP/1.1 500 Internal Server Error\r\n\r\n", "500 for"),
        (b"HTTP/1.1 200 OK\r\nX-Injected: yes\r\n\r\n", "a header was injected"),
        (b"HTTP/1.1 200 OK\r\n\r\nroot:x:0:0:root:/root:/bin/bash\n", "a file was shown"),
        (b"HTTP/1.1 404 Not Found\r\n\r\nX-Injected: yes, it was sent so", None),
        (b'HTTP/1.1 500 \r\n\r\n{\n  "code": 500,\n  "type": "ErrorDataDecoderException",\n', None),
        (b'HTTP/1.1 500 \r\n\r\n{\n  "code": 500,\n  "type": "InternalServerException",\n', "500 for"),
    ],
)
def test_what_no_stranger_may_be_answered_is_noticed(answer: bytes, complaint: str | None) -> None:
    attack = Attack(0)
    attack.judge([b"GET / HTTP/1.1\r\n\r\n"], answer)
    assert complaint in attack.complaints[0] if complaint else attack.complaints == []


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (b"HTTP/1.1 500 \r\ncontent-length: 4\r\n\r\noops", "500"),
        (b"HTTP/1.1 500 \r\ncontent-length: 4\r\n\r\noop", "reset"),
    ],
)
async def test_what_was_answered_before_a_reset_is_judged_where_it_is_whole(answer: bytes, outcome: str) -> None:
    """TorchServe resets each connection after an error."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await asyncio.sleep(0.1)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        attack = Attack(server.sockets[0].getsockname()[1])
        await attack.all([partial(attack.send, b"GET / HTTP/1.1\r\n\r\n")])
    assert attack.outcomes == {outcome: 1}
    assert bool(attack.complaints) is (outcome == "500")


@pytest.fixture
async def torchserve(anyio_backend: str) -> AsyncIterator[FakeTorchServe]:
    fake = FakeTorchServe()
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
async def service(torchserve: FakeTorchServe) -> AsyncIterator[Service]:
    async with running_service(torchserve, {"max_image_bytes": 1_000_000}) as service:
        yield service


@pytest.mark.anyio
@pytest.mark.parametrize("row", ["framing", "nonsense"])
@pytest.mark.usefixtures("quiet")
async def test_whatever_strangers_send_is_answered_and_never_passed_on(
    service: Service, torchserve: FakeTorchServe, row: str
) -> None:
    attack = Attack(int(service.url.rpartition(":")[2]))
    chances = [chance_of(row, SEED, number) for number in range(CONNECTIONS)]
    sent = [wire.framed(chance) if row == "framing" else [wire.nonsense(chance)] for chance in chances]

    await attack.all(partial(attack.send, *pieces, is_open=row == "framing") for pieces in sent)

    assert attack.complaints == []
    assert attack.outcomes["200"]
    assert (await service.post("/predict", b"a good picture")).status == 200
    assert set(torchserve.paths) <= {"/predictions/resnet18/1.0", "/explanations/resnet18/1.0"}
    assert {name.lower() for headers in torchserve.headers for name in headers} <= OUR_HEADERS
