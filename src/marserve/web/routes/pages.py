"""For people: the page with its files, and /docs."""

from __future__ import annotations

import functools
import html
import re
from pathlib import Path

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse
from starlette.staticfiles import StaticFiles

from marserve.paths import CONFIG, EXAMPLE_PICTURE, EXAMPLES
from marserve.web.openapi import build_document
from marserve.web.routes import GET

router = APIRouter(include_in_schema=False)

WEB = Path(__file__).resolve().parent.parent
TEMPLATES = WEB / "templates"
#: Where a template has a value.
PLACES = re.compile(r"\{(root|name)\}")


@router.api_route("/", methods=GET)
async def page(request: Request) -> HTMLResponse:
    return _page(request, "index.html", "./")


@router.api_route("/labels/zh.json", methods=GET)
async def chinese_labels() -> FileResponse:
    """The Chinese name of each class, by WordNet id."""
    return FileResponse(CONFIG / "labels.zh.json")


@router.api_route("/example.jpg", methods=GET)
async def example_picture() -> FileResponse:
    return FileResponse(EXAMPLE_PICTURE)


@router.api_route("/docs", methods=GET)
async def documentation(request: Request) -> HTMLResponse:
    """Swagger UI without a script or style inside the page, which the Content-Security-Policy forbids."""
    sent: bytes = request.scope["raw_path"]
    # To a browser, each slash in the end is a directory.
    return _page(request, "docs.html", "../" * (len(sent) - len(sent.rstrip(b"/"))) or "./")


@router.api_route("/docs/start.js", methods=GET)
async def start_documentation() -> FileResponse:
    return FileResponse(TEMPLATES / "docs.js", media_type="text/javascript")


@router.api_route("/openapi.json", methods=GET)
async def openapi_document(request: Request) -> JSONResponse:
    return JSONResponse(build_document(request.app, str(request.base_url.replace(path=f"{_prefix(request)}/"))))


def _page(request: Request, template: str, root: str) -> HTMLResponse:
    """``template`` with the service's name, and the addresses of its files, which are below ``root`` where no proxy has
    named a prefix.
    """
    prefix = _prefix(request)
    values = {"root": f"{prefix}/" if prefix else root, "name": request.app.state.name}
    # At once: a value may look like another one's place.
    return HTMLResponse(PLACES.sub(lambda place: html.escape(values[place[1]]), _read(template)))


@functools.cache
def _read(template: str) -> str:
    return (TEMPLATES / template).read_text(encoding="utf-8")


def _prefix(request: Request) -> str:
    """The path below which a trusted proxy serves all this; usually none."""
    return getattr(request.state, "prefix", "")


def mount_files(app: FastAPI) -> None:
    app.mount("/static", StaticFiles(directory=WEB / "static"), name="static")
    app.mount("/examples", StaticFiles(directory=EXAMPLES), name="examples")
    # Swagger UI as a Python package ships it: /docs works without the internet.
    app.mount("/docs/assets", StaticFiles(packages=[("fastapi_offline", "static")]), name="documentation")
