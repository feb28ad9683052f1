"""A published file into a directory: checked, resumed after a broken connection, whole or not at all."""

from __future__ import annotations

import http.client
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from marserve.archive.weights.connection import Timeouts, reason_of, request_stream
from marserve.archive.weights.errors import DownloadFailed
from marserve.archive.weights.formats import web_page
from marserve.archive.weights.published import PublishedFile
from marserve.archive.weights.weights_file import sha256_of
from marserve.system.files import replacing
from marserve.terminal import counted

if TYPE_CHECKING:
    import requests

_CHUNK_BYTES = 1 << 18
_WORTH_ANOTHER_ATTEMPT = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}


@dataclass(frozen=True)
class Limits:
    """How long and how often a download is tried."""

    timeouts: Timeouts = field(default_factory=Timeouts)
    #: Connections in all, the first one included.
    attempts: int = 4
    #: The pause before the second attempt; it doubles each time.
    first_pause_s: float = 1
    #: Between two lines of progress, where there is no terminal.
    line_interval_s: float = 5


class _AttemptError(Exception):
    """An attempt that failed in a way that another one may not."""


def download(file: PublishedFile, directory: Path, *, report: Callable[[str], None], limits: Limits) -> str:
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
            _check(part, sha256, file)
            _keep_other_content(destination, sha256)
    except OSError as exc:
        raise DownloadFailed(f"{destination} cannot be written ({exc.strerror})") from exc
    return sha256


def _keep_other_content(destination: Path, sha256: str) -> None:
    """Move a file that has the name but not the content aside: it may be somebody's own."""
    if destination.exists() and sha256_of(destination) != sha256:
        destination.replace(destination.with_name(f"{destination.name}.other"))


def _fetch(file: PublishedFile, sink: BinaryIO, report: Callable[[str], None], limits: Limits) -> None:
    """Write the body to ``sink``; after a broken connection, go on where it broke if the server can do that."""
    import requests

    answered = False
    with counted(file.cache_name, "MB", report=report, interval_s=limits.line_interval_s) as show:
        for attempt in range(1, limits.attempts + 1):
            try:
                with _request(file.url, sink.tell(), limits.timeouts) as response:
                    answered = True
                    _receive(response, file, sink, show)
                return
            except (_AttemptError, requests.RequestException) as exc:
                reason = reason_of(exc)
                # A server that was never reached will not be in a second either: most likely there is no internet.
                if not answered or attempt == limits.attempts:
                    raise DownloadFailed(reason) from exc
            pause_s = limits.first_pause_s * 2 ** (attempt - 1)
            report(
                f"{file.cache_name}: {reason}; trying again in {pause_s:g} s ({attempt} of {limits.attempts} failed)"
            )
            time.sleep(pause_s)


def _request(url: str, offset: int, timeouts: Timeouts) -> requests.Response:
    headers = {"Accept-Encoding": "identity"}  # a compressed body could not be resumed
    if offset:
        headers["Range"] = f"bytes={offset}-"
    return request_stream(url, headers, timeouts)


def _receive(
    response: requests.Response, file: PublishedFile, sink: BinaryIO, show: Callable[[float, float | None], None]
) -> None:
    """Append the body of ``response`` to ``sink``, from where the server says that it begins."""
    status = response.status_code
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _WORTH_ANOTHER_ATTEMPT:
        raise _AttemptError(f"the server answered {status} {http.client.responses.get(status, '')}")
    resumed = response.headers.get("Content-Range", "").startswith(f"bytes {sink.tell()}-")
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or (status == HTTPStatus.PARTIAL_CONTENT and not resumed):
        _start_over(sink)
        raise _AttemptError("the server cannot go on where the connection broke")
    if status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        raise DownloadFailed(f"the server answered {status} {http.client.responses.get(status, '')}")
    if status == HTTPStatus.OK:
        _start_over(sink)
    _check_announced(response, file)
    length = response.headers.get("Content-Length", "")
    total = (sink.tell() + int(length)) / 1e6 if length.isdecimal() else None
    for chunk in response.iter_content(_CHUNK_BYTES):
        sink.write(chunk)
        show(sink.tell() / 1e6, total)


def _start_over(sink: BinaryIO) -> None:
    sink.seek(0)
    sink.truncate()


def _check_announced(response: requests.Response, file: PublishedFile) -> None:
    """Refuse other content before it is sent: Hugging Face announces the SHA-256 in its first answer, a redirect."""
    for answer in [*response.history, response]:
        announced = answer.headers.get("X-Linked-ETag", "").removeprefix("W/").strip('"').lower()
        if re.fullmatch("[0-9a-f]{64}", announced) and not announced.startswith(file.sha256):
            raise DownloadFailed(_wrong_digest(announced, file))


def _check(part: Path, sha256: str, file: PublishedFile) -> None:
    if sha256.startswith(file.sha256):
        return
    page = web_page(part)
    raise DownloadFailed(_wrong_digest(sha256, file) if page is None else f"the server sent {page} instead of the file")


def _wrong_digest(found: str, file: PublishedFile) -> str:
    return f"the server has other content: its SHA-256 is {found}, and {file.sha256} was expected"
