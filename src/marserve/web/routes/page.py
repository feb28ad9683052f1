"""The page and what it shows besides its own files."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import FileResponse

from marserve.paths import CONFIG, EXAMPLE_PICTURE
from marserve.web.routes.files import WEB

router = APIRouter(include_in_schema=False)


@router.api_route("/", methods=["GET", "HEAD"])
async def page() -> FileResponse:
    """The page."""
    return FileResponse(WEB / "templates" / "index.html")


@router.get("/labels/zh.json")
async def chinese_labels() -> FileResponse:
    """The Chinese name of each class, by WordNet id."""
    return FileResponse(CONFIG / "labels.zh.json")


@router.get("/example.jpg")
async def example_picture() -> FileResponse:
    """A picture to try the page with."""
    return FileResponse(EXAMPLE_PICTURE)
