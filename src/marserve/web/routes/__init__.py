"""The addresses of the service, what they work with, and what a request must pass before its body is read."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from fastapi import Depends, Request
from starlette.datastructures import QueryParams

from marserve.handler.resnet18.errors import InvalidParameter
from marserve.web.catalogue import Catalogue
from marserve.web.classifier import Classifier
from marserve.web.dispatch.urgency import Urgency, read_urgency, stays
from marserve.web.errors import ForeignPage
from marserve.web.feedback import Feedback
from marserve.web.fetching import Fetcher
from marserve.web.metrics import WebMetrics
from marserve.web.openapi import VERSION_HEADER
from marserve.web.protection import Admission, Guard
from marserve.web.readiness import Readiness
from marserve.web.settings import WebSettings
from marserve.web.upstream.connection import UpstreamConnection

#: Characters of an unknown parameter's name in an error.
MAX_SHOWN_NAME = 40


@dataclass(frozen=True)
class Services:
    settings: WebSettings
    metrics: WebMetrics
    guard: Guard
    admission: Admission
    catalogue: Catalogue
    metrics_of_torchserve: UpstreamConnection
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


def urgency_of(request: Request) -> Urgency:
    """Called when the whole request has arrived, from which its time counts. Raises InvalidParameter."""
    state, settings = request.state, services_of(request).settings
    return read_urgency(request.headers, state.caller, settings, getattr(state, "has_left", stays))


def pinned_version(request: Request, in_path: str | None = None) -> str | None:
    """The version that the request names, in its header or ``in_path``; None: whatever this service chooses.

    Raises InvalidParameter where it names two, or an empty one.
    """
    named = {*request.headers.getlist(VERSION_HEADER), *([] if in_path is None else [in_path])}
    if len(named) > 1:
        raise InvalidParameter(f"{VERSION_HEADER} and the address name different versions: name one.")
    version = named.pop() if named else None
    if version == "":
        raise InvalidParameter(f"{VERSION_HEADER} is empty: name a version, or leave it out.")
    return version


def refuse_foreign_pages(request: Request) -> None:
    """Raise ForeignPage where a page that MARSERVE_CORS_ORIGINS does not name had a browser send this.

    Such a page cannot read what is answered, but what the request does would be done: for whoever may reach this
    service, and with the network that it is in. Only browsers say where a request comes from.
    """
    allowed = services_of(request).settings.cors_origins
    if request.headers.get("sec-fetch-site", "none") in ("same-origin", "none"):
        return
    if "*" not in allowed and request.headers.get("origin") not in allowed:
        raise ForeignPage("This was sent by a page of another origin: its origin must be in MARSERVE_CORS_ORIGINS.")


def check_parameters(given: QueryParams, known: Collection[str] = ()) -> None:
    """Raise InvalidParameter for a parameter that is none of ``known``, such as ``topk``, or that is given twice.

    Only where the answer would quietly be another one than was meant. Elsewhere such parameters are ignored: with files
    and pages ``?v=2`` gets around caches, a monitor that is refused is blind, and clients of /v2 write parameters for
    gateways in between.
    """
    known = sorted(known)
    for name, count in Counter(name for name, _ in given.multi_items()).items():
        if count > 1:
            raise InvalidParameter(f"{name[:MAX_SHOWN_NAME]} is given {count} times: give it once.")
        if name not in known:
            near = difflib.get_close_matches(name.lower().replace("-", "_"), known, 1)
            meant = f"; did you mean {near[0]}?" if near else "."
            there_are = f"There are: {', '.join(known)}." if known else "There are none."
            raise InvalidParameter(f"{name[:MAX_SHOWN_NAME]} is not a parameter here{meant} {there_are}")


#: Methods of addresses that are read: monitors and load balancers send HEAD.
GET = ["GET", "HEAD"]
#: Methods of addresses that take a picture: ``curl -T`` sends PUT.
SEND = ["POST", "PUT"]

#: Dependencies of routes that read, and of those that take a picture.
READ = [Depends(require_key)]
WORK = [Depends(require_key_and_rate)]
