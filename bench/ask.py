"""One HTTP request to a server, in whichever network namespace it runs."""

from __future__ import annotations

import ctypes
import http.client
import os
import threading
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError
from bench.target import Target

_CLONE_NEWNET = 0x40000000


@dataclass(frozen=True)
class Answer:
    """Status and body."""

    status: int
    body: bytes


def ask_picture(target: Target, picture: bytes, timeout_s: float = 60.0) -> Answer | None:
    """The answer for ``picture``; None where nobody answers properly in time."""
    body, headers = target.body.encode(picture)
    return ask(target, "POST", target.path, body, {**headers, **target.headers}, timeout_s)


def ask(
    target: Target, method: str, path: str, body: bytes | None, headers: dict[str, str], timeout_s: float
) -> Answer | None:
    """One request to the server of ``target``; None where nobody answers properly in time."""
    if target.namespace is None:
        return _ask(target, method, path, body, headers, timeout_s)
    # A thread may change its own namespace; it ends with the request.
    answers: list[Answer | None] = []
    problems: list[OSError] = []

    def inside(namespace: str) -> None:
        try:
            _enter(namespace)
        except OSError as exc:
            problems.append(exc)
            return
        answers.append(_ask(target, method, path, body, headers, timeout_s))

    thread = threading.Thread(target=inside, args=(target.namespace,))
    thread.start()
    thread.join()
    if problems:
        raise BenchError(f"The network namespace {target.namespace} cannot be entered: {problems[0]}; run as root.")
    return answers[0] if answers else None


def _ask(
    target: Target, method: str, path: str, body: bytes | None, headers: dict[str, str], timeout_s: float
) -> Answer | None:
    connection = http.client.HTTPConnection(target.host, target.port, timeout=timeout_s)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return Answer(response.status, response.read())
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _enter(namespace: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/run/netns", namespace).open("rb") as file:
        if libc.setns(file.fileno(), _CLONE_NEWNET):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
