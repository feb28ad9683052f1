"""What browsers get: the pages and their files, compressed where they take it, and known again by their content."""

from __future__ import annotations

import asyncio
import functools
import gzip
import hashlib
import html
import mimetypes
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from marserve.paths import EXAMPLES

WEB = Path(__file__).resolve().parent
TEMPLATES = WEB / "templates"
STATIC = WEB / "static"
#: The directories whose files are served, and below which address. Swagger UI is what a Python package ships, so that
#: /docs works without the internet.
DIRECTORIES = {
    "/static": STATIC,
    "/examples": EXAMPLES,
    "/docs/assets": Path(str(files("fastapi_offline"))) / "static",
}

#: A smaller answer fits into a packet or two as it is.
MIN_PACKED_BYTES = 1000
#: zlib's own choice: 9 takes longer and saves less than 1 %.
PACKED_LEVEL = 6
#: Types that are no smaller when compressed.
INCOMPRESSIBLE = re.compile(r"image/(?!svg)")
#: Not where its quality is 0, by which a client refuses it.
TAKES_GZIP = re.compile(r"(?i)(?:^|,)\s*(?:x-)?gzip\s*(?:;\s*q\s*=\s*(?!0(?:\.0*)?\s*(?:,|$))[^,]*)?\s*(?:,|$)")
#: Of an address that names its content: there is never anything else there.
FOREVER = "public, max-age=31536000, immutable"
#: Where a template has a value.
PLACES = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Content:
    """A body and what goes with it."""

    body: bytes
    media_type: str

    @cached_property
    def digest(self) -> str:
        return hashlib.sha256(self.body).hexdigest()

    @cached_property
    def packed(self) -> bytes | None:
        """``body`` as gzip; None where that is not worth while."""
        if len(self.body) < MIN_PACKED_BYTES or INCOMPRESSIBLE.match(self.media_type):
            return None
        return gzip.compress(self.body, PACKED_LEVEL, mtime=0)


def respond(
    request: Request, content: Content, headers: Mapping[str, str] | None = None, status: int = 200
) -> Response:
    """``content``, as gzip for who takes it, or 304 for who has it."""
    # Weak: the bytes differ between the two encodings.
    tag = f'W/"{content.digest[:32]}"'
    sent = {"ETag": tag, "Vary": "Accept-Encoding", **(headers or {})}
    known = request.headers.get("if-none-match", "")
    if status == 200 and (known == "*" or tag.removeprefix("W/") in re.findall(r'"[^"]*"', known)):
        return Response(status_code=304, headers=sent)
    if TAKES_GZIP.search(request.headers.get("accept-encoding", "")) and content.packed is not None:
        sent["Content-Encoding"] = "gzip"
        return Response(content.packed, status, sent, content.media_type)
    return Response(content.body, status, sent, content.media_type)


async def respond_with_file(
    request: Request, directory: Path, name: str, headers: Mapping[str, str] | None = None
) -> Response:
    """The file ``name`` of ``directory``. Raises HTTPException 404 where there is none."""
    # Beside the event loop: reading and compressing the largest takes a tenth of a second, once.
    content = await asyncio.to_thread(_find, directory, name)
    if content is None:
        raise HTTPException(404)
    return respond(request, content, headers)


def static_version() -> str:
    """Names what the page's files are at the moment.

    It is a part of their address, so that a browser asks for each of them once and never runs an old module beside a
    new one.
    """
    found = sorted((name, _stored(entry).digest) for name, entry in _files_of(STATIC).items())
    return hashlib.sha256(repr(found).encode()).hexdigest()[:12]


def _find(directory: Path, name: str) -> Content | None:
    entry = _files_of(directory).get(name)
    if entry is None:
        return None
    content = _stored(entry)
    content.packed  # noqa: B018 - computed here, and not in the event loop
    return content


def _files_of(directory: Path) -> dict[str, os.DirEntry[str]]:
    """By name: what is not found here is not served, so no name leads elsewhere."""
    return {entry.name: entry for entry in os.scandir(directory) if entry.is_file()}


def _stored(entry: os.DirEntry[str]) -> Content:
    status = entry.stat()
    return _read_file(entry.path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=256)
def _read_file(path: str, mtime_ns: int, size: int) -> Content:  # noqa: ARG001 - those tell a file from its successor
    return Content(Path(path).read_bytes(), mimetypes.guess_type(path)[0] or "application/octet-stream")


def render_page(request: Request, template: str, root: str, values: Mapping[str, str] | None = None) -> Content:
    """``template`` with its ``values``, the service's name and the addresses of its files.

    These are below ``root`` where no proxy has named a prefix.
    """
    prefix = prefix_of(request)
    named = {"root": f"{prefix}/" if prefix else root, "name": request.app.state.name, **(values or {})}
    text = read_template(template).replace("{root}static/", f"{{root}}static-{static_version()}/")
    # At once: a value may look like another one's place.
    page = PLACES.sub(lambda place: html.escape(named[place[1]]), text)
    return Content(page.encode(), "text/html")


@functools.cache
def read_template(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def prefix_of(request: Request) -> str:
    """The path below which a trusted proxy serves all this; usually none."""
    return getattr(request.state, "prefix", "")


def root_of(request: Request) -> str:
    """The way from the address that was requested to the page's, as a browser goes it, to whom each slash is a step."""
    sent: bytes = request.scope["raw_path"]
    return "../" * sent.lstrip(b"/").count(b"/") or "./"
