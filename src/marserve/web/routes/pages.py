"""For people: the page with its files, and /docs."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import FileResponse, JSONResponse
from starlette.staticfiles import StaticFiles

from marserve.paths import CONFIG, EXAMPLE_PICTURE
from marserve.web.openapi import build_document

router = APIRouter(include_in_schema=False)

WEB = Path(__file__).resolve().parent.parent
TEMPLATES = WEB / "templates"


@router.api_route("/", methods=["GET", "HEAD"])
async def page() -> FileResponse:
    return FileResponse(TEMPLATES / "index.html")


@router.get("/labels/zh.json")
async def chinese_labels() -> FileResponse:
    """The Chinese name of each class, by WordNet id."""
    return FileResponse(CONFIG / "labels.zh.json")


@router.get("/example.jpg")
async def example_picture() -> FileResponse:
    return FileResponse(EXAMPLE_PICTURE)


@router.get("/docs")
async def documentation() -> FileResponse:
    """Swagger UI without a script or style inside the page, which the Content-Security-Policy forbids."""
    return FileResponse(TEMPLATES / "docs.html")


@router.get("/docs/start.js")
async def start_documentation() -> FileResponse:
    return FileResponse(TEMPLATES / "docs.js", media_type="text/javascript")


@router.get("/openapi.json")
async def openapi_document(request: Request) -> JSONResponse:
    return JSONResponse(build_document(request.app, str(request.base_url)))


def mount_files(app: FastAPI) -> None:
    app.mount("/static", StaticFiles(directory=WEB / "static"), name="static")
    # Swagger UI as a Python package ships it: /docs works without the internet.
    app.mount("/docs/assets", StaticFiles(packages=[("fastapi_offline", "static")]), name="documentation")
