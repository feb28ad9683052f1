"""The loopback address: its ports, and the synchronous HTTP client for servers there: no proxy, a deadline, None where
nobody answers. A server that speaks TLS is known by its certificate itself, which ``serve`` has in a file.

What leaves this machine, or is to be retried, goes through ``marserve.client``.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

LOOPBACK = "127.0.0.1"
#: OpenSSL's flag of that name, which Python does not: on this machine a certificate that has expired is still the one.
X509_V_FLAG_NO_CHECK_TIME = 0x200000


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


def trusting(certificate: str) -> ssl.SSLContext:
    """For connections to whoever has the key of exactly this ``certificate``, in PEM, whatever names it holds."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN | X509_V_FLAG_NO_CHECK_TIME
    context.load_verify_locations(cadata=certificate)
    return context


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
    certificate: Path | None = None,
) -> LocalReply | None:
    """Send one request, with ``token`` if there is one; None where nobody answers properly in time.

    ``certificate`` is the file of a server that speaks TLS; nothing is sent to anybody else.
    """
    sent = dict(headers or {})
    if token is not None:
        sent["Authorization"] = f"Bearer {token}"
    if body is not None:
        sent.setdefault("Content-Type", "application/octet-stream")
    try:
        if certificate is None:
            connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
        else:
            context = trusting(certificate.read_text(encoding="ascii"))
            connection = http.client.HTTPSConnection(host, port, timeout=timeout_s, context=context)
    except (OSError, ValueError):  # not written yet
        return None
    try:
        connection.request(method, path, body, sent)
        response = connection.getresponse()
        return LocalReply(response.status, response.read())
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
