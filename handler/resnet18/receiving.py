"""How a worker reads a request from TorchServe: straight into the memory that the handler gets.

TorchServe 0.12, its last release, allocates the whole length for each piece that arrives, and copies every piece a
second time. docs/design.md ("Batches") has what this saves.
"""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Callable
from functools import partial

#: What reads a worker's socket, by its name in a worker, where it is loaded before any handler.
CODEC = "ts.protocol.otf_message_handler"
READER = "_retrieve_buffer"


#: Bytes from which on the copies cost more than they are worth; headers come in pieces of four bytes.
LARGE_BYTES = 65_536

Reader = Callable[[socket.socket, int], bytearray]


def install() -> None:
    """Let TorchServe's codec read pictures with ``receive``. Does nothing where it has no such function to replace."""
    codec = sys.modules.get(CODEC)
    if hasattr(codec, READER):
        setattr(codec, READER, partial(receive, getattr(codec, READER)))


def receive(small: Reader, connection: socket.socket, length: int) -> bytearray:
    """The next ``length`` bytes; ``small`` reads the small ones.

    Ends the process where TorchServe has closed the connection, as its own function does.
    """
    if length < LARGE_BYTES:
        return small(connection, length)
    content = bytearray(length)
    left = memoryview(content)
    while left:
        received = connection.recv_into(left)
        if not received:
            logging.info("Frontend disconnected.")
            sys.exit(0)
        left = left[received:]
    return content
