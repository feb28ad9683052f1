"""The synchronous HTTP client for servers on this machine: no proxy, a deadline, None where nobody answers.

What leaves this machine, or is to be retried, goes through ``marserve.client``.
"""

from __future__ import annotations

import http.client
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

from marserve.system.ports import LOOPBACK


def reachable_address(host: str) -> str:
    """Where something that listens on ``host`` is reached from here."""
    address = ipaddress.ip_address(host)
    if not address.is_unspecified:
        return host
    return LOOPBACK if address.version == 4 else "::1"


@dataclass(frozen=True)
class LocalReply:
    """Status and body of an answer."""

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
