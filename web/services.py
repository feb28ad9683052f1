"""The parts that endpoints work with."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request

from web.catalogue import Catalogue
from web.classifier import Classifier
from web.metrics import Metrics
from web.protection.admission import Admission
from web.protection.guard import Guard
from web.readiness import Readiness
from web.settings import Settings


@dataclass(frozen=True)
class Services:
    """One of each, for one application."""

    settings: Settings
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
