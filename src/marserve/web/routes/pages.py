"""For people: the page with its files, and /docs."""

from __future__ import annotations

import json

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from marserve.paths import CONFIG, EXAMPLES
from marserve.web.content import (
    DIRECTORIES,
    FOREVER,
    STATIC,
    TEMPLATES,
    Content,
    prefix_of,
    render_page,
    respond,
    respond_with_file,
    root_of,
    static_version,
)
from marserve.web.openapi import build_document
from marserve.web.routes import GET

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
    return respond(request, render_page(request, "docs.html", root_of(request)))


@router.api_route("/docs/start.js", methods=GET)
async def start_documentation(request: Request) -> Response:
    return await respond_with_file(request, TEMPLATES, "docs.js")


@router.api_route("/openapi.json", methods=GET)
async def openapi_document(request: Request) -> Response:
    document = build_document(request.app, str(request.base_url.replace(path=f"{prefix_of(request)}/")))
    return respond(request, Content(json.dumps(document).encode(), "application/json"))


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
