"""The loopback address: its ports, and the synchronous HTTP client for servers there: no proxy, a deadline, None where
nobody answers.

What leaves this machine, or is to be retried, goes through ``marserve.client``.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

LOOPBACK = "127.0.0.1"


def is_free(port: int) -> bool:
    """Whether a server could listen on ``port`` of the loopback address now."""
    with socket.socket() as client:
        client.settimeout(1)
        # Where a server on all addresses does not hinder another on one (macOS), binding alone would not notice it.
        if client.connect_ex((LOOPBACK, port)) == 0:
            return False
    with socket.socket() as server:
        # As servers do, so that connections of a server that just ended do not count.
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def free_ports(count: int) -> list[int]:
    """Different ports of the loopback address that nobody uses at this moment."""
    with ExitStack() as sockets:
        servers = [sockets.enter_context(socket.socket()) for _ in range(count)]
        for server in servers:
            server.bind((LOOPBACK, 0))
        return [server.getsockname()[1] for server in servers]


def reachable_address(host: str) -> str:
    """Where something that listens on ``host`` is reached from here."""
    address = ipaddress.ip_address(host)
    if not address.is_unspecified:
        return host
    return LOOPBACK if address.version == 4 else "::1"


@dataclass(frozen=True)
class LocalReply:
    status: int
    body: bytes


def request(
    method: str,
    port: int,
    path: str,
    *,
    token: str | None = None,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 10.0,
    host: str = LOOPBACK,
) -> LocalReply | None:
    """Send one request, with ``token`` if there is one; None where nobody answers properly in time."""
    sent = dict(headers or {})
    if token is not None:
        sent["Authorization"] = f"Bearer {token}"
    if body is not None:
        sent.setdefault("Content-Type", "application/octet-stream")
    connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
    try:
        connection.request(method, path, body, sent)
        response = connection.getresponse()
        return LocalReply(response.status, response.read())
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
