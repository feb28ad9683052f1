"""For people: the page with its files, and /docs."""

from __future__ import annotations

import json
from functools import lru_cache

from fastapi import APIRouter, FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from marserve.paths import CONFIG, EXAMPLES
from marserve.web.content import (
    DIRECTORIES,
    FOREVER,
    STATIC,
    Content,
    prefix_of,
    render_page,
    respond,
    respond_with_file,
    root_of,
    static_version,
)
from marserve.web.openapi import Language, build_document
from marserve.web.routes import GET

LANGUAGES: dict[str, Language] = {"en": "en", "zh": "zh"}
#: What docs.html says in each language.
FRAMES = {
    "en": {"lang": "en", "title": "API", "other": "zh", "other_name": "中文"},
    "zh": {"lang": "zh", "title": "API 文档", "other": "en", "other_name": "English"},
}

router = APIRouter(include_in_schema=False)


@router.api_route("/", methods=GET)
async def page(request: Request) -> Response:
    return respond(request, render_page(request, "index.html", "./"))


@router.api_route("/labels/zh.json", methods=GET)
async def chinese_labels(request: Request) -> Response:
    """The Chinese name of each class, by WordNet id."""
    return await respond_with_file(request, CONFIG, "labels.zh.json")


@router.api_route("/example.jpg", methods=GET)
async def example_picture(request: Request) -> Response:
    return await respond_with_file(request, EXAMPLES, "cat.jpg")


@router.api_route("/docs", methods=GET)
async def documentation(request: Request) -> Response:
    """Swagger UI without a script or style inside the page, which the Content-Security-Policy forbids."""
    language = _wanted(request) or _spoken(request)
    page = render_page(request, "docs.html", root_of(request), FRAMES[language])
    return respond(request, page, {"Vary": "Accept-Encoding, Accept-Language"})


@router.api_route("/openapi.json", methods=GET)
async def openapi_document(request: Request) -> Response:
    """In English, whatever the browser prefers: programs are made from it."""
    base = str(request.base_url.replace(path=f"{prefix_of(request)}/"))
    return respond(request, _document(request.app, base, _wanted(request) or "en"))


@lru_cache(maxsize=16)  # names by which callers reach the service: they may invent more
def _document(app: FastAPI, base: str, language: Language) -> Content:
    """Made once: it takes so long that requests for it, one behind the other, kept everybody waiting."""
    return Content(json.dumps(build_document(app, base, language)).encode(), "application/json")


def _wanted(request: Request) -> Language | None:
    return LANGUAGES.get(request.query_params.get("lang", "").lower()[:2])


def _spoken(request: Request) -> Language:
    """The first language of the browser's list that there is."""
    listed = request.headers.get("accept-language", "").lower().split(",")
    return next((LANGUAGES[tag.strip()[:2]] for tag in listed if tag.strip()[:2] in LANGUAGES), "en")


@router.api_route("/static-{version}/{name}", methods=GET)
async def versioned_file(request: Request, version: str, name: str) -> Response:
    """A file of the page as it is now. Another version's page gets none: old and new modules need not fit together."""
    if version != static_version():
        raise HTTPException(404)
    return await respond_with_file(request, STATIC, name, {"Cache-Control": FOREVER})


@router.api_route("/static/{name}", methods=GET)
@router.api_route("/examples/{name}", methods=GET)
@router.api_route("/docs/assets/{name}", methods=GET)
async def file(request: Request, name: str) -> Response:
    return await respond_with_file(request, DIRECTORIES[request.scope["route"].path.removesuffix("/{name}")], name)
