"""Files that are served as they are."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from starlette.staticfiles import StaticFiles

WEB = Path(__file__).resolve().parent.parent


def mount_files(app: FastAPI) -> None:
    """Serve the page's files and those of the documentation."""
    app.mount("/static", StaticFiles(directory=WEB / "static"), name="static")
    # Swagger UI as a Python package ships it: /docs works without the internet.
    app.mount("/docs/assets", StaticFiles(packages=[("fastapi_offline", "static")]), name="documentation")
