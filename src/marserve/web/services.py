"""The parts that endpoints work with."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request

from marserve.web.catalogue import Catalogue
from marserve.web.classifier import Classifier
from marserve.web.metrics import Metrics
from marserve.web.protection import Admission, Guard
from marserve.web.readiness import Readiness
from marserve.web.settings import WebSettings


@dataclass(frozen=True)
class Services:
    """One of each, for one application."""

    settings: WebSettings
    metrics: Metrics
    guard: Guard
    admission: Admission
    catalogue: Catalogue
    readiness: Readiness
    classifier: Classifier


def services_of(request: Request) -> Services:
    """The services of the application that handles ``request``."""
    services: Services = request.app.state.services
    return services
