"""A published file into a directory: checked, resumed after a broken connection, whole or not at all.

torch.hub and pooch were tried in its place: see docs/design.md, "Archives".
"""

from __future__ import annotations

import errno
import http.client
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from marserve.archive.weights.files import WeightsError, sha256_of, web_page
from marserve.system.files import replacing
from marserve.terminal import Report, counted

if TYPE_CHECKING:
    import requests

_CHUNK_BYTES = 1 << 18
_WORTH_ANOTHER_ATTEMPT = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}


class DownloadFailed(WeightsError):  # noqa: N818 - read as a sentence where it is caught
    """A published file that did not arrive whole; the next source is tried."""


class _AttemptError(Exception):
    """An attempt that failed in a way that another one may not."""


@dataclass(frozen=True)
class PublishedFile:
    """A file to download; ``sha256`` is its whole digest or the first digits of it, at least eight."""

    url: str
    cache_name: str
    sha256: str
    source: str


@dataclass(frozen=True)
class DownloadLimits:
    #: To each single address of the host.
    connect_s: float = 3
    #: From the name of the host to the head of the answer, redirects included.
    answer_s: float = 10
    #: Between two pieces of a body.
    stall_s: float = 20
    #: Connections in all, the first one included.
    attempts: int = 4
    #: The pause before the second attempt; it doubles each time.
    first_pause_s: float = 1
    #: Between two lines of progress, where there is no terminal.
    line_interval_s: float = 5


def download(file: PublishedFile, directory: Path, *, report: Report, limits: DownloadLimits) -> str:
    """Fetch ``file`` to ``directory / file.cache_name`` and return its whole SHA-256.

    The file appears under its name only when it is whole and its digest is right, and any number of processes may
    fetch it at once; nothing else is left in the directory. Raises DownloadFailed.
    """
    destination = directory / file.cache_name
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with replacing(destination) as sink:
            _fetch(file, sink, report, limits)
            sink.flush()
            part = Path(sink.name)
            sha256 = sha256_of(part)
            if not sha256.startswith(file.sha256):
                page = web_page(part)
                raise (
                    _wrong_digest(sha256, file)
                    if page is None
                    else DownloadFailed(f"the server sent {page} instead of the file")
                )
            if destination.exists() and sha256_of(destination) != sha256:  # it may be somebody's own
                destination.replace(destination.with_name(f"{destination.name}.other"))
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):  # another source would not fit either
            raise
        raise DownloadFailed(f"{destination} cannot be written ({exc.strerror})") from exc
    return sha256


def _fetch(file: PublishedFile, sink: BinaryIO, report: Report, limits: DownloadLimits) -> None:
    """Write the body to ``sink``; after a broken connection, go on where it broke if the server can do that."""
    import requests

    answered = False
    with counted(file.cache_name, "MB", report=report, interval_s=limits.line_interval_s) as show:
        for attempt in range(1, limits.attempts + 1):
            try:
                with _request(file.url, sink.tell(), limits) as response:
                    answered = True
                    _receive(response, file, sink, show)
                return
            except (_AttemptError, requests.RequestException) as exc:
                reason = _reason_of(exc)
                # A server that was never reached will not be in a second either: most likely there is no internet.
                if not answered or attempt == limits.attempts:
                    raise DownloadFailed(reason) from exc
            pause_s = limits.first_pause_s * 2 ** (attempt - 1)
            report(
                f"{file.cache_name}: {reason}; trying again in {pause_s:g} s ({attempt} of {limits.attempts} failed)"
            )
            time.sleep(pause_s)


def _request(url: str, offset: int, limits: DownloadLimits) -> requests.Response:
    """GET ``url`` from ``offset`` on and return once the answer's head is here; raises requests.RequestException.

    requests alone bounds neither name resolution nor, for a host with many addresses, the time to connect: without
    internet either can take minutes. So the request runs in a thread that is left behind when time is up.
    """
    import requests

    headers = {"Accept-Encoding": "identity"}  # a compressed body could not be resumed
    if offset:
        headers["Range"] = f"bytes={offset}-"
    answer: Future[requests.Response] = Future()

    def get() -> None:
        try:
            answer.set_result(
                requests.get(url, headers=headers, stream=True, timeout=(limits.connect_s, limits.stall_s))
            )
        except Exception as exc:  # noqa: BLE001 - not swallowed: the waiting thread raises it
            answer.set_exception(exc)

    threading.Thread(target=get, name="download", daemon=True).start()
    try:
        return answer.result(timeout=limits.answer_s)
    except FutureTimeout:
        raise requests.Timeout(f"no answer within {limits.answer_s:g} seconds") from None


def _receive(
    response: requests.Response, file: PublishedFile, sink: BinaryIO, show: Callable[[float, float | None], None]
) -> None:
    """Append the body of ``response`` to ``sink``, from where the server says that it begins."""
    status = response.status_code
    answered = f"the server answered {status} {http.client.responses.get(status, '')}"
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _WORTH_ANOTHER_ATTEMPT:
        raise _AttemptError(answered)
    resumed = response.headers.get("Content-Range", "").startswith(f"bytes {sink.tell()}-")
    if not (status == HTTPStatus.PARTIAL_CONTENT and resumed):
        sink.seek(0)
        sink.truncate()
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or (status == HTTPStatus.PARTIAL_CONTENT and not resumed):
        raise _AttemptError("the server cannot go on where the connection broke")
    if status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        raise DownloadFailed(answered)
    # Other content is refused before it is sent: Hugging Face announces the SHA-256 in its first answer, a redirect.
    for answer in [*response.history, response]:
        announced = answer.headers.get("X-Linked-ETag", "").removeprefix("W/").strip('"').lower()
        if re.fullmatch("[0-9a-f]{64}", announced) and not announced.startswith(file.sha256):
            raise _wrong_digest(announced, file)
    length = response.headers.get("Content-Length", "")
    total = (sink.tell() + int(length)) / 1e6 if length.isdecimal() else None
    for chunk in response.iter_content(_CHUNK_BYTES):
        sink.write(chunk)
        show(sink.tell() / 1e6, total)


def _wrong_digest(found: str, file: PublishedFile) -> DownloadFailed:
    return DownloadFailed(f"the server has other content: its SHA-256 is {found}, and {file.sha256} was expected")


def _reason_of(exc: Exception) -> str:
    """What went wrong in a few words: the innermost of the exceptions that requests and urllib3 wrap in each other."""
    cause: object = exc
    while isinstance(cause, Exception):
        inner = getattr(cause, "reason", None) or next((arg for arg in cause.args if isinstance(arg, Exception)), None)
        if inner is None:
            break
        cause = inner
    return re.sub(r"^HTTPS?Connection(?:Pool)?\(.*?\): ", "", str(cause)).rstrip(".")
