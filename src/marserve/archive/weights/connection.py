"""One HTTP request whose answer begins within a bounded time."""

from __future__ import annotations

import re
import threading
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import requests


@dataclass(frozen=True)
class Timeouts:
    """Seconds after which a server counts as gone."""

    #: To each single address of the host.
    connect_s: float = 3
    #: From the name of the host to the head of the answer, redirects included.
    answer_s: float = 10
    #: Between two pieces of a body.
    stall_s: float = 20


def request_stream(url: str, headers: dict[str, str], timeouts: Timeouts) -> requests.Response:
    """GET ``url`` and return once the answer's head is here; raises requests.RequestException.

    requests alone bounds neither name resolution nor, for a host with many addresses, the time to connect: without
    internet either can take minutes. So the request runs in a thread that is left behind when time is up.
    """
    import requests

    answer: Future[requests.Response] = Future()

    def ask() -> None:
        try:
            answer.set_result(
                requests.get(url, headers=headers, stream=True, timeout=(timeouts.connect_s, timeouts.stall_s))
            )
        except Exception as exc:  # noqa: BLE001 - not swallowed: the waiting thread raises it
            answer.set_exception(exc)

    threading.Thread(target=ask, name="download", daemon=True).start()
    try:
        return answer.result(timeout=timeouts.answer_s)
    except FutureTimeout:
        raise requests.Timeout(f"no answer within {timeouts.answer_s:g} seconds") from None


def reason_of(exc: Exception) -> str:
    """What went wrong in a few words: the innermost of the exceptions that requests and urllib3 wrap in each other."""
    cause: object = exc
    while isinstance(cause, Exception):
        inner = getattr(cause, "reason", None) or next((arg for arg in cause.args if isinstance(arg, Exception)), None)
        if inner is None:
            break
        cause = inner
    return re.sub(r"^HTTPS?Connection(?:Pool)?\(.*?\): ", "", str(cause)).rstrip(".")
