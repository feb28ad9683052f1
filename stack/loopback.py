"""Asking a server on this machine, over HTTP, without a proxy and with a deadline."""

from __future__ import annotations

import http.client
from dataclasses import dataclass

from stack.ports import LOOPBACK


@dataclass(frozen=True)
class Reply:
    """Status and body of an answer."""

    status: int
    body: bytes


def ask(
    method: str, port: int, path: str, *, token: str, body: bytes | None = None, timeout_s: float = 10.0
) -> Reply | None:
    """One request with ``token``; None where nobody answers properly in time."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=timeout_s)
    headers = {"Authorization": f"Bearer {token}"}
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
