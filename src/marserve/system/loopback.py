"""Asking a server on this machine, over HTTP, without a proxy and with a deadline."""

from __future__ import annotations

import http.client
from dataclasses import dataclass

from marserve.stack.ports import LOOPBACK


@dataclass(frozen=True)
class Reply:
    """Status and body of an answer."""

    status: int
    body: bytes


def ask(
    method: str,
    port: int,
    path: str,
    *,
    token: str | None = None,
    body: bytes | None = None,
    timeout_s: float = 10.0,
    host: str = LOOPBACK,
) -> Reply | None:
    """One request, with ``token`` if there is one; None where nobody answers properly in time."""
    connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    if body is not None:
        headers["Content-Type"] = "application/octet-stream"
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return Reply(response.status, response.read())
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
