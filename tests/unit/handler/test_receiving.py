"""What a worker reads from TorchServe's frontend."""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterator
from threading import Thread

import pytest
from ts.protocol import otf_message_handler

from marserve.handler.resnet18 import receiving

#: Several times what a socket's buffer takes.
LARGE = bytes(range(256)) * 10_000


def prefixed(*values: bytes) -> bytes:
    return b"".join(struct.pack("!i", len(value)) + value for value in values)


END = struct.pack("!i", -1)
#: As TorchServe's frontend writes it (ts/protocol/otf_message_handler.py): two requests, with headers and parameters.
MESSAGE = b"".join(
    [
        b"I",
        *(prefixed(b"an-id"), prefixed(b"X-Top-K", b"3"), END, prefixed(b"body", b"image/jpeg", LARGE), END),
        *(prefixed(b"another"), END, prefixed(b"body", b"", b""), END),
        END,
    ]
)


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    worker, frontend = socket.socketpair()
    with worker, frontend:
        yield worker, frontend


def test_torchserves_codec_reads_the_same_with_it(
    monkeypatch: pytest.MonkeyPatch, ends: tuple[socket.socket, socket.socket]
) -> None:
    worker, frontend = ends
    own = otf_message_handler._retrieve_buffer
    monkeypatch.setattr(otf_message_handler, receiving.READER, own)
    sending = Thread(target=frontend.sendall, args=(MESSAGE * 2,))
    sending.start()
    plain = otf_message_handler.retrieve_msg(worker)
    receiving.install()
    assert otf_message_handler._retrieve_buffer is not own
    assert otf_message_handler.retrieve_msg(worker) == plain
    sending.join()
    assert plain[1][0]["parameters"] == [{"name": "body", "contentType": "image/jpeg", "value": LARGE}]


def test_what_arrives_in_pieces_is_put_together(ends: tuple[socket.socket, socket.socket]) -> None:
    worker, frontend = ends

    def send() -> None:
        for start in range(0, 100_000, 999):
            frontend.sendall(LARGE[start : start + 999])

    sending = Thread(target=send)
    sending.start()
    own = otf_message_handler._retrieve_buffer
    pieces = [receiving.receive(own, worker, length) for length in (10, 0, 80_000)]
    assert b"".join(pieces) == LARGE[:80_010]
    sending.join()


@pytest.mark.parametrize("length", [8, receiving.LARGE_BYTES])
def test_a_worker_ends_with_the_frontend(ends: tuple[socket.socket, socket.socket], length: int) -> None:
    worker, frontend = ends
    frontend.sendall(b"half")
    frontend.close()
    with pytest.raises(SystemExit) as ended:
        receiving.receive(otf_message_handler._retrieve_buffer, worker, length)
    assert ended.value.code == 0


def test_outside_of_a_worker_nothing_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, receiving.CODEC)
    receiving.install()
    monkeypatch.setitem(sys.modules, receiving.CODEC, socket)
    receiving.install()
    assert not hasattr(socket, receiving.READER)
