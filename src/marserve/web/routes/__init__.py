"""The addresses of the service."""

from __future__ import annotations

from marserve.web.routes import documentation, health, inference_protocol, models, page, pictures
from marserve.web.routes.files import mount_files

ROUTERS = [
    pictures.router,
    models.router,
    health.router,
    inference_protocol.router,
    page.router,
    documentation.router,
]

__all__ = ["ROUTERS", "mount_files"]
