"""/docs: Swagger UI without a script or style inside the page, which the Content-Security-Policy forbids."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import HTMLResponse, Response

router = APIRouter(include_in_schema=False)

PAGE = """<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>ResNet18 image classification: API</title>
    <link rel="icon" href="static/icon.svg" type="image/svg+xml">
    <link rel="stylesheet" href="docs/assets/swagger-ui.css">
    <script src="docs/assets/swagger-ui-bundle.js" defer></script>
    <script src="docs/start.js" defer></script>
  </head>
  <body><div id="documentation"></div></body>
</html>
"""
SCRIPT = """SwaggerUIBundle({ url: "openapi.json", dom_id: "#documentation", deepLinking: true });
"""


@router.get("/docs")
async def documentation() -> HTMLResponse:
    """The page."""
    return HTMLResponse(PAGE)


@router.get("/docs/start.js")
async def start_documentation() -> Response:
    """Its script."""
    return Response(SCRIPT, media_type="text/javascript")
