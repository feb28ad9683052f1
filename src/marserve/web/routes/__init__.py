"""The addresses of the service, what they work with, and what a request must pass before its body is read."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Depends, Request

from marserve.web.catalogue import Catalogue
from marserve.web.classifier import Classifier
from marserve.web.feedback import Feedback
from marserve.web.fetching import Fetcher
from marserve.web.metrics import WebMetrics
from marserve.web.protection import Admission, Guard
from marserve.web.readiness import Readiness
from marserve.web.settings import WebSettings


@dataclass(frozen=True)
class Services:
    settings: WebSettings
    metrics: WebMetrics
    guard: Guard
    admission: Admission
    catalogue: Catalogue
    readiness: Readiness
    classifier: Classifier
    #: None: reports of wrong answers are not taken.
    feedback: Feedback | None
    #: None: nothing is fetched from addresses.
    fetcher: Fetcher | None


def services_of(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


async def require_key(request: Request) -> None:
    request.state.caller = services_of(request).guard.check_key(request)


async def require_key_and_rate(request: Request) -> None:
    guard = services_of(request).guard
    request.state.caller = guard.check_key(request)
    guard.charge(request.state.caller)


#: Methods of addresses that are read: monitors and load balancers send HEAD.
GET = ["GET", "HEAD"]
#: Methods of addresses that take a picture: ``curl -T`` sends PUT.
SEND = ["POST", "PUT"]

#: Dependencies of routes that read, and of those that take a picture.
READ = [Depends(require_key)]
WORK = [Depends(require_key_and_rate)]
