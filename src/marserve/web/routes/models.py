"""/models: what can be asked for."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse, Response

from marserve.web.openapi import WITH_KEY
from marserve.web.protection import require_key
from marserve.web.schemas import Models
from marserve.web.services import services_of

router = APIRouter(tags=["pictures"])


@router.get("/models", response_model=Models, responses=WITH_KEY, dependencies=[Depends(require_key)])
async def models(request: Request) -> Response:
    """The models that are served, and which one answers where none is named."""
    services = services_of(request)
    served = services.catalogue.models()
    default = services.catalogue.default()
    listed = [
        {
            "name": model.name,
            "version": model.version,
            "versions": [other.version for other in served if other.name == model.name],
            "architecture": model.description.architecture,
            "class_count": model.description.class_count,
            "weights": model.weights,
            "precision": model.description.precision,
            "ready": services.readiness.is_ready(model),
        }
        for model in served
        if model.reported.is_default
    ]
    limits = {"max_image_bytes": services.settings.max_image_bytes}
    return JSONResponse({"default": default.name if default else None, "models": listed, "limits": limits})
